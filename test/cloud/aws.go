package cloud

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/weir-dev/weir/test/s3server"
)

func (c *Cloud) handleAWS() {
	for _, region := range []string{"us-east-1", "eu-central-1"} {
		c.Handle("sts."+region+".amazonaws.com", http.HandlerFunc(c.serveSTS))
		c.Handle("api.ecr."+region+".amazonaws.com", http.HandlerFunc(c.serveECR))
	}

	c.Handle("api.ecr-public.us-east-1.amazonaws.com", http.HandlerFunc(c.serveECR))
}

// serveSTS exchanges the token of a ServiceAccount for keys, and keys for those of a role.
// Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
func (c *Cloud) serveSTS(w http.ResponseWriter, r *http.Request) {
	const action = "AssumeRoleWithWebIdentity"

	if r.Header.Get("Authorization") != "" {
		c.serveAssumeRole(w, r)

		return
	}

	if err := r.ParseForm(); err != nil || r.PostForm.Get("Action") != action {
		s3server.RefuseKeys(w, "InvalidAction", "Could not find operation.")

		return
	}

	account := c.account(r.PostForm.Get("WebIdentityToken"), "sts.amazonaws.com")
	if account == "" {
		s3server.RefuseKeys(w, "InvalidIdentityToken", "The token could not be validated.")

		return
	}

	if c.Roles[r.PostForm.Get("RoleArn")] != account || r.PostForm.Get("RoleSessionName") == "" {
		s3server.RefuseKeys(w, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")

		return
	}

	s3server.WriteKeys(w, action, c.Keys.Issue(c.lifetime()))
}

// serveECR gives the password of the registry to who signs with good keys.
// Source: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html
func (c *Cloud) serveECR(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")

	public := strings.HasPrefix(r.Host, "api.ecr-public.")
	service, target := "ecr", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"

	if public {
		service, target = "ecr-public", "SpencerFrontendService.GetAuthorizationToken"
	}

	if r.Header.Get("X-Amz-Target") != target {
		answer(w, http.StatusBadRequest, map[string]string{"__type": "UnknownOperationException"})

		return
	}

	access, err := c.Keys.Check(r, service)
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"__type": err.Code, "message": err.Message})

		return
	}

	data := map[string]any{
		"authorizationToken": base64.StdEncoding.EncodeToString([]byte("AWS:password-of-" + access)),
		"expiresAt":          expiry(c.lifetime()),
	}

	if public {
		answer(w, http.StatusOK, map[string]any{"authorizationData": data})
	} else {
		answer(w, http.StatusOK, map[string]any{"authorizationData": []any{data}})
	}
}
