package kms

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/weir-dev/weir/reconcilers/cloud"
	"github.com/weir-dev/weir/reconcilers/decryption/sops"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// awsKeys are what a Secret says for AWS.
type awsKeys struct{ access, secret, session string }

func readAWS(raw []byte) (*awsKeys, error) {
	const (
		access  = "aws_access_key_id"
		secret  = "aws_secret_access_key" //nolint:gosec // the name of a field
		session = "aws_session_token"
	)

	f, err := fields(raw, access, secret, session)
	if err != nil {
		return nil, err
	}

	for _, name := range []string{access, secret} {
		if f[name] == "" {
			return nil, fmt.Errorf("field %q is missing", name)
		}
	}

	return &awsKeys{access: f[access], secret: f[secret], session: f[session]}, nil
}

// aws asks AWS KMS. The region is a part of the host, so it has to look like one.
func (k *keys) aws(ctx context.Context, r sops.Recipient) ([]byte, error) {
	const pattern = `^arn:aws[a-z-]*:kms:([a-z]+(?:-[a-z]+)+-[0-9]+):[0-9]{12}:(?:key|alias)/[0-9A-Za-z:/_-]{1,256}$`

	m := regexp.MustCompile(pattern).FindStringSubmatch(r.ARN)
	if m == nil {
		return nil, errors.New("the ARN is none of a key: want arn:aws:kms:<region>:<account>:key/<id>")
	}

	blob, err := base64.StdEncoding.DecodeString(r.Encrypted)
	if err != nil {
		return nil, errors.New("the encrypted data key is no base64")
	}

	client, err := k.client(ingest.Route{})
	if err != nil {
		return nil, err
	}

	who, err := k.awsCredentials(ctx, client, m[1], r.Role)
	if err != nil {
		return nil, err
	}

	found, err := kms.New(kms.Options{Region: m[1], Credentials: static(who), HTTPClient: client}).Decrypt(ctx, &kms.DecryptInput{
		CiphertextBlob: blob, EncryptionContext: r.Context, KeyId: &r.ARN,
	})
	if err != nil {
		return nil, fmt.Errorf("decrypt with AWS KMS: %w", cloud.Reason(err))
	}

	return found.Plaintext, nil
}

// awsCredentials returns what signs requests in a region: the keys of the Secret or of the identity, or of the role that these
// assume.
func (k *keys) awsCredentials(ctx context.Context, client *http.Client, region, role string) (awssdk.Credentials, error) {
	who, key, err := k.awsIdentity(ctx, region)
	if err != nil || role == "" {
		return who, err
	}

	if !regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[0-9A-Za-z+=,.@/_-]{1,512}$`).MatchString(role) {
		return who, errors.New("the role is no ARN of one: want arn:aws:iam::<account>:role/<name>")
	}

	assumed, err := k.roles.get(ctx, flight.FingerprintOf(string(key[:]), region, role),
		func(ctx context.Context) (awssdk.Credentials, time.Time, error) {
			return assume(ctx, sts.Options{Region: region, Credentials: static(who), HTTPClient: client}, role, k.session())
		})
	if err != nil {
		return who, fmt.Errorf("assume role %q: %w", role, cloud.Reason(err))
	}

	return assumed, nil
}

// awsIdentity returns keys, and what stands for who has them.
func (k *keys) awsIdentity(ctx context.Context, region string) (awssdk.Credentials, flight.Fingerprint, error) {
	if s := k.entries.aws; s != nil {
		return awssdk.Credentials{AccessKeyID: s.access, SecretAccessKey: s.secret, SessionToken: s.session},
			flight.FingerprintOf("secret", s.access, s.secret, s.session), nil
	}

	who, err := k.identity(cloud.AWS)
	if err != nil {
		return awssdk.Credentials{}, flight.Fingerprint{}, err
	}

	key, err := k.options.Cloud.Fingerprint(ctx, who)
	if err != nil {
		return awssdk.Credentials{}, key, err //nolint:wrapcheck // it names the account
	}

	got, err := k.options.Cloud.AWS(ctx, who, cloud.AWSOptions{Region: region})

	return awssdk.Credentials{
		AccessKeyID: got.AccessKeyID, SecretAccessKey: got.SecretAccessKey, SessionToken: got.SessionToken,
	}, flight.FingerprintOf("identity", string(key[:])), err //nolint:wrapcheck // it names the account
}

// session names who assumes a role, for the logs of AWS.
func (k *keys) session() string {
	name := regexp.MustCompile(`[^0-9A-Za-z+=,.@_-]`).ReplaceAllString("weir."+k.request.Namespace+"."+k.request.Name, "-")

	return name[:min(len(name), 64)]
}

func assume(ctx context.Context, o sts.Options, role, session string) (awssdk.Credentials, time.Time, error) {
	got, err := sts.New(o).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: &session})
	if err != nil {
		return awssdk.Credentials{}, time.Time{}, err //nolint:wrapcheck // the caller does
	}

	c := got.Credentials
	if c == nil || c.AccessKeyId == nil || c.SecretAccessKey == nil || c.SessionToken == nil || c.Expiration == nil {
		return awssdk.Credentials{}, time.Time{}, errors.New("the answer has no keys")
	}

	return awssdk.Credentials{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken},
		*c.Expiration, nil
}

func static(c awssdk.Credentials) awssdk.CredentialsProvider {
	return awssdk.CredentialsProviderFunc(func(context.Context) (awssdk.Credentials, error) { return c, nil })
}
