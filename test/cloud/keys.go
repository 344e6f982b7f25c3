package cloud

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"strings"

	"github.com/weir-dev/weir/test/s3server"
)

// sealed is what a key service has encrypted.
type sealed struct {
	key     string
	plain   []byte
	context map[string]string
}

func (c *Cloud) handleKeys() {
	for _, region := range []string{"us-east-1", "eu-central-1"} {
		c.Handle("kms."+region+".amazonaws.com", http.HandlerFunc(c.serveKMS))
	}

	for _, host := range []string{"*.vault.azure.net", "*.managedhsm.azure.net"} {
		c.Handle(host, http.HandlerFunc(c.serveKeyVault))
	}

	c.Handle("cloudkms.googleapis.com", http.HandlerFunc(c.serveCloudKMS))
}

// Seal encrypts with a key: an ARN of AWS KMS, a name of Google Cloud KMS, the URL of a key in Azure Key Vault, without its version,
// or the path of one in Vault. The context is that of AWS.
func (c *Cloud) Seal(key string, plain []byte, context map[string]string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()

	if c.sealed == nil {
		c.sealed = map[string]sealed{}
	}

	id := "sealed-" + rand.Text()
	c.sealed[id] = sealed{key: key, plain: plain, context: context}

	return []byte(id)
}

// unseal decrypts what was encrypted with the key.
func (c *Cloud) unseal(key string, encrypted []byte, context map[string]string) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()

	s, ok := c.sealed[string(encrypted)]
	if !ok || s.key != key || !maps.Equal(s.context, context) {
		return nil, false
	}

	return s.plain, true
}

// serveAssumeRole gives the keys of a role to who signs with good keys.
// Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
func (c *Cloud) serveAssumeRole(w http.ResponseWriter, r *http.Request) {
	if _, err := c.Keys.Check(r, "sts"); err != nil {
		s3server.RefuseKeys(w, err.Code, err.Message)

		return
	}

	role := ""
	if r.ParseForm() == nil && r.PostForm.Get("Action") == "AssumeRole" && r.PostForm.Get("RoleSessionName") != "" {
		role = r.PostForm.Get("RoleArn")
	}

	if !c.Assumable[role] {
		s3server.RefuseKeys(w, "AccessDenied", "User is not authorized to perform: sts:AssumeRole on resource: "+role)

		return
	}

	keys := c.Keys.Issue(c.lifetime())

	c.mu.Lock()
	if c.assumed == nil {
		c.assumed = map[string]string{}
	}

	c.assumed[keys.AccessKey] = role
	c.mu.Unlock()

	s3server.WriteKeys(w, "AssumeRole", keys)
}

// serveKMS is AWS KMS, in which everybody with good keys may use all keys but those of a role.
// Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html
func (c *Cloud) serveKMS(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")

	refuse := func(code, message string) {
		answer(w, http.StatusBadRequest, map[string]string{"__type": code, "message": message})
	}

	access, err := c.Keys.Check(r, "kms")
	if err != nil {
		refuse(err.Code, err.Message)

		return
	}

	var in struct {
		KeyId             string //nolint:revive // the name of the field
		CiphertextBlob    []byte
		Plaintext         []byte
		EncryptionContext map[string]string
	}
	_ = json.NewDecoder(r.Body).Decode(&in)

	c.mu.Lock()
	role := c.assumed[access]
	c.mu.Unlock()

	region := strings.Split(r.Host, ".")[1]

	switch target := r.Header.Get("X-Amz-Target"); {
	case !strings.HasPrefix(in.KeyId, "arn:aws:kms:"+region+":"):
		refuse("NotFoundException", "Invalid arn "+region)
	case c.KeyRoles[in.KeyId] != role:
		refuse("AccessDeniedException", "The ciphertext refers to a customer master key that you do not have access to.")
	case target == "TrentService.Encrypt":
		answer(w, http.StatusOK, map[string]any{
			"KeyId": in.KeyId, "CiphertextBlob": c.Seal(in.KeyId, in.Plaintext, in.EncryptionContext), "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
		})
	case target == "TrentService.Decrypt":
		plain, ok := c.unseal(in.KeyId, in.CiphertextBlob, in.EncryptionContext)
		if !ok {
			refuse("InvalidCiphertextException", "")

			return
		}

		answer(w, http.StatusOK, map[string]any{"KeyId": in.KeyId, "Plaintext": plain, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"})
	default:
		refuse("UnknownOperationException", "")
	}
}

// serveKeyVault is Azure Key Vault.
// Source: https://learn.microsoft.com/en-us/rest/api/keyvault/keys/decrypt/decrypt
func (c *Cloud) serveKeyVault(w http.ResponseWriter, r *http.Request) {
	_, domain, _ := strings.Cut(r.Host, ".")

	if c.good(r) != "https://"+domain+"/.default" {
		w.Header().Set("WWW-Authenticate", `Bearer authorization="https://login.microsoftonline.com/`+c.Tenant+`", resource="https://`+domain+`"`)
		answer(w, http.StatusUnauthorized, armError("Unauthorized", "AKV10000: Request is missing a Bearer or PoP token."))

		return
	}

	var in struct {
		Alg   string `json:"alg"`
		Value string `json:"value"`
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	value, err := base64.RawURLEncoding.DecodeString(in.Value)

	parts := strings.Split(r.URL.Path, "/") // "", keys, name, version, operation
	if err != nil || r.Method != http.MethodPost || in.Alg != "RSA-OAEP-256" || len(parts) != 5 || r.URL.Query().Get("api-version") == "" {
		answer(w, http.StatusBadRequest, armError("BadParameter", "The request is malformed."))

		return
	}

	key := "https://" + r.Host + "/keys/" + parts[2]
	kid := key + "/" + parts[3]

	switch parts[4] {
	case "encrypt":
		answer(w, http.StatusOK, map[string]string{"kid": kid, "value": base64.RawURLEncoding.EncodeToString(c.Seal(key, value, nil))})
	case "decrypt":
		plain, ok := c.unseal(key, value, nil)
		if !ok {
			answer(w, http.StatusBadRequest, armError("BadParameter", "The parameter is incorrect."))

			return
		}

		answer(w, http.StatusOK, map[string]string{"kid": kid, "value": base64.RawURLEncoding.EncodeToString(plain)})
	default:
		answer(w, http.StatusNotFound, armError("NotFound", ""))
	}
}

// serveCloudKMS is Google Cloud KMS.
// Source: https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys/decrypt
func (c *Cloud) serveCloudKMS(w http.ResponseWriter, r *http.Request) {
	if c.good(r) != googleScope {
		googleError(w, http.StatusUnauthorized, "Request had invalid authentication credentials.")

		return
	}

	name, operation, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/"), ":")

	var in struct {
		Ciphertext []byte `json:"ciphertext"`
		Plaintext  []byte `json:"plaintext"`
	}
	_ = json.NewDecoder(r.Body).Decode(&in)

	switch operation {
	case "encrypt":
		answer(w, http.StatusOK, map[string]any{"name": name, "ciphertext": c.Seal(name, in.Plaintext, nil)})
	case "decrypt":
		plain, ok := c.unseal(name, in.Ciphertext, nil)
		if !ok {
			googleError(w, http.StatusBadRequest, "Decryption failed: verify that 'name' refers to the correct CryptoKey.")

			return
		}

		answer(w, http.StatusOK, map[string]any{"plaintext": plain})
	default:
		googleError(w, http.StatusNotFound, "Not Found")
	}
}
