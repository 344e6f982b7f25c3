package kms_test

import (
	"strings"
	"testing"
	"time"

	"github.com/weir-dev/weir/reconcilers/cloud"
	"github.com/weir-dev/weir/reconcilers/decryption/kms"
	"github.com/weir-dev/weir/reconcilers/decryption/sops"
)

const (
	arn     = "arn:aws:kms:us-east-1:123456789012:key/2e4d7c3a-0000-4000-8000-000000000000"
	guarded = "arn:aws:kms:us-east-1:123456789012:alias/guarded"
	keeper  = "arn:aws:iam::123456789012:role/keeper"
)

func TestAWS(t *testing.T) {
	sky.Assumable[keeper] = true
	sky.KeyRoles[guarded] = keeper

	good := sky.Keys.Issue(time.Hour)
	late := sky.Keys.Issue(-time.Hour)
	inYAML := func(access, secret, session string) map[string]string {
		return map[string]string{
			"sops.aws-kms": "aws_access_key_id: " + access + "\naws_secret_access_key: " + secret + "\naws_session_token: " + session + "\n",
		}
	}
	sealed := func(key string, context map[string]string) sops.Recipient {
		return sops.Recipient{Kind: sops.AWSKMS, ARN: key, Context: context, Encrypted: std(sky.Seal(key, dataKey, context))}
	}
	with := func(r sops.Recipient, change func(*sops.Recipient)) sops.Recipient {
		change(&r)

		return r
	}

	cases := map[string]struct {
		reason    string
		recipient sops.Recipient
		request   kms.Request
		change    func(*kms.Options)
		want      string
	}{
		"Account": {reason: "A ServiceAccount has a role.", recipient: sealed(arn, nil), request: request("reader", nil)},
		"Default": {
			reason: "There may be one for all.", recipient: sealed(arn, nil), request: request("", nil),
			change: func(o *kms.Options) { o.DefaultServiceAccount = "reader" },
		},
		"Secret": {
			reason: "A Secret may have keys.", recipient: sealed(arn, nil),
			request: request("nobody", inYAML(good.AccessKey, good.SecretKey, good.SessionToken)),
		},
		"Context": {
			reason: "The context of the encryption is sent.", recipient: sealed(arn, map[string]string{"app": "one"}), request: request("reader", nil),
		},
		"OtherContext": {
			reason: "And counts.", recipient: with(sealed(arn, map[string]string{"app": "one"}), func(r *sops.Recipient) {
				r.Context = map[string]string{"app": "two"}
			}),
			request: request("reader", nil), want: "decrypt with AWS KMS: InvalidCiphertextException",
		},
		"Role": {
			reason: "A role may be needed.", recipient: with(sealed(guarded, nil), func(r *sops.Recipient) { r.Role = keeper }),
			request: request("reader", nil),
		},
		"RoleSecret": {
			reason: "The keys of a Secret assume it as well.", recipient: with(sealed(guarded, nil), func(r *sops.Recipient) { r.Role = keeper }),
			request: request("", inYAML(good.AccessKey, good.SecretKey, good.SessionToken)),
		},
		"NoRole": {
			reason: "It is needed then.", recipient: sealed(guarded, nil), request: request("reader", nil),
			want: "decrypt with AWS KMS: AccessDeniedException: The ciphertext refers to a customer master key that you do not have access to.",
		},
		"OtherRole": {
			reason:    "Not everybody may take each.",
			recipient: with(sealed(guarded, nil), func(r *sops.Recipient) { r.Role = keeper + "2" }), request: request("reader", nil),
			want: `assume role "` + keeper + `2": AccessDenied: User is not authorized to perform: sts:AssumeRole on resource: ` + keeper + "2",
		},
		"BadRole": {
			reason:    "What is no role is not asked for.",
			recipient: with(sealed(arn, nil), func(r *sops.Recipient) { r.Role = "arn:aws:iam::1:role/x\ny" }), request: request("reader", nil),
			want: "the role is no ARN of one",
		},
		"Nobody": {
			reason: "Who has no role gets nothing.", recipient: sealed(arn, nil), request: request("nobody", nil),
			want: "get aws credentials of service account 'apps/nobody': AccessDenied",
		},
		"Gone": {
			reason: "Nor who is not there.", recipient: sealed(arn, nil), request: request("gone", nil),
			want: "failed to get service account 'apps/gone'",
		},
		"WrongKey": {
			reason: "A wrong key makes a wrong signature.", recipient: sealed(arn, nil),
			request: request("", inYAML(good.AccessKey, secret, good.SessionToken)), want: "decrypt with AWS KMS: SignatureDoesNotMatch",
		},
		"Expired": {
			reason: "Keys expire.", recipient: sealed(arn, nil), request: request("", inYAML(late.AccessKey, late.SecretKey, late.SessionToken)),
			want: "decrypt with AWS KMS: ExpiredToken",
		},
		"Region": {
			reason: "A region is no host.", request: request("reader", nil),
			recipient: with(sealed(arn, nil), func(r *sops.Recipient) { r.ARN = strings.Replace(arn, "us-east-1", "evil.test/us-east-1", 1) }),
			want:      "the ARN is none of a key",
		},
		"Service": {
			reason: "Only keys are keys.", request: request("reader", nil),
			recipient: with(sealed(arn, nil), func(r *sops.Recipient) { r.ARN = strings.Replace(arn, ":kms:", ":s3:", 1) }),
			want:      "the ARN is none of a key",
		},
		"OtherKey": {
			reason: "A data key is decrypted by the key that the file names.", request: request("reader", nil),
			recipient: with(sealed(arn, nil), func(r *sops.Recipient) { r.ARN = strings.Replace(arn, "2e4d", "3e4d", 1) }),
			want:      "decrypt with AWS KMS: InvalidCiphertextException",
		},
		"NoBase64": {
			reason: "It is encoded.", request: request("reader", nil),
			recipient: with(sealed(arn, nil), func(r *sops.Recipient) { r.Encrypted = "!" }), want: "the encrypted data key is no base64",
		},
		"TooLong": {
			reason: "And short.", request: request("reader", nil),
			recipient: with(sealed(arn, nil), func(r *sops.Recipient) { r.Encrypted = strings.Repeat("A", 20<<10) }),
			want:      "the encrypted data key has more than 16384 bytes",
		},
		"Empty": {
			reason: "So is what comes out of it.", request: request("reader", nil),
			recipient: sops.Recipient{Kind: sops.AWSKMS, ARN: arn, Encrypted: std(sky.Seal(arn, nil, nil))},
			want:      "the service gave no usable data key",
		},
		"NoCloud": {
			reason: "There may be no credentials at all.", recipient: sealed(arn, nil), request: request("", nil),
			change: func(o *kms.Options) { o.Cloud = nil }, want: "there are no credentials for it",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := services(t, newCluster(t), func(o *kms.Options) {
				if tc.change != nil {
					tc.change(o)
				}
			})

			got, err := unwrap(t, s, tc.request, tc.recipient)
			expect(t, tc.reason, tc.want, got, err)
		})
	}
}

// A role is assumed once for all files that need it, and by nobody else's keys.
func TestRolesAreKept(t *testing.T) {
	sky.Assumable[keeper], sky.KeyRoles[guarded] = true, keeper
	s := services(t, newCluster(t))
	recipient := sops.Recipient{Kind: sops.AWSKMS, ARN: guarded, Role: keeper, Encrypted: std(sky.Seal(guarded, dataKey, nil))}

	assumed := func() (n int) {
		for _, r := range sky.Requests() {
			if strings.HasPrefix(r.Host, "sts.") {
				n++
			}
		}

		return n
	}

	for want := 2; want >= 0; want -= 2 { // the role of the ServiceAccount is one, too
		got, err := unwrap(t, s, request("reader", nil), recipient)
		expect(t, "The role opens the key.", "", got, err)

		if n := assumed(); n != want {
			t.Errorf("%d requests for roles, want %d", n, want)
		}
	}

	other := sky.Keys.Issue(time.Hour)
	got, err := unwrap(t, s, request("", map[string]string{
		"sops.aws-kms": `{"aws_access_key_id": "` + other.AccessKey + `", "aws_secret_access_key": "wrong", "aws_session_token": "x"}`,
	}), recipient)
	expect(t, "Who may not assume it gets nothing that was kept.", "assume role", got, err)
}

// Without a ServiceAccount, it is the process that asks, also where objects of other kinds have a default.
func TestAWSProcess(t *testing.T) {
	keys := sky.Keys.Issue(time.Hour)
	t.Setenv("AWS_ACCESS_KEY_ID", keys.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", keys.SecretKey)
	t.Setenv("AWS_SESSION_TOKEN", keys.SessionToken)

	c := newCluster(t)
	s := services(t, c, func(o *kms.Options) {
		o.Cloud = cloud.New(cloud.Options{Client: c, Transports: o.Transports, DefaultServiceAccount: "nobody"})
	})

	got, err := unwrap(t, s, request("", nil), sops.Recipient{Kind: sops.AWSKMS, ARN: arn, Encrypted: std(sky.Seal(arn, dataKey, nil))})
	expect(t, "The process has keys.", "", got, err)
}
