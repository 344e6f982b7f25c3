// Package kms asks key services for the data keys of encrypted files: AWS KMS, Azure Key Vault, Google Cloud KMS, and the transit
// engine of HashiCorp Vault and OpenBao.
//
// It knows who asks: what a Secret says, the ServiceAccount of an object, or this process. What a file says of its keys was written
// by anybody. So requests of an identity go to hosts of its cloud alone, which are made of checked parts; the token of this
// process for Vault goes to addresses that the operator names; and only a token that the owner of the object has put into a Secret
// goes where the file says, within what the address guard allows. Answers are bounded, and no error quotes them.
//
// Keys that are at hand, of age and OpenPGP, are not its business.
package kms
