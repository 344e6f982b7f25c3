// Package cloud gets credentials of AWS, Azure and Google Cloud for who asks: the ServiceAccount that an object names, or this
// process. They are for container registries, Git servers and buckets, live for an hour at most, and are shared by all objects
// with the same identity until they are about to expire.
//
// It hands credentials out, only for servers of the cloud that gives them: no token is made for a host that is not known to be
// one. What is done with them is not its business, nor are credentials in Secrets.
package cloud
