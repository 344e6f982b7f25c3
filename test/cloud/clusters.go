package cloud

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Cluster is a Kubernetes cluster of one of the clouds.
type Cluster struct {
	// Address is that of its API server, Others are more of them: for GKE the private one and the name, in this order.
	Address string
	Others  []string

	// CA is the certificate of its authority, as PEM.
	CA []byte

	// NoEntra is an AKS cluster with users of its own.
	NoEntra bool

	// Raw, if there is any, is the answer of the cloud in place of what the rest says.
	Raw string
}

// scopeAKS is what a token for AKS clusters is for.
const (
	scopeAKS = "6dae42f8-4368-4678-94ff-3960e28e3630/.default"
	scopeARM = "https://management.core.windows.net//.default"
)

func (c *Cloud) handleClusters() {
	for _, region := range []string{"us-east-1", "eu-central-1"} {
		c.Handle("eks."+region+".amazonaws.com", http.HandlerFunc(c.serveEKS))
	}

	c.Handle("management.azure.com", http.HandlerFunc(c.serveARM))
	c.Handle("container.googleapis.com", http.HandlerFunc(c.serveGKE))
}

// SetCluster makes a cluster known to the clouds, by its ARN, resource ID or name. Nil takes it away.
func (c *Cloud) SetCluster(name string, k *Cluster) {
	c.mu.Lock()
	defer c.mu.Unlock()

	if c.clusters == nil {
		c.clusters = map[string]*Cluster{}
	}

	c.clusters[name] = k
}

func (c *Cloud) cluster(name string) *Cluster {
	c.mu.Lock()
	defer c.mu.Unlock()

	for known, k := range c.clusters {
		if strings.EqualFold(known, name) {
			return k
		}
	}

	return nil
}

// serveEKS describes clusters to who signs with good keys, all of one account.
// Source: https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeCluster.html
func (c *Cloud) serveEKS(w http.ResponseWriter, r *http.Request) {
	if _, err := c.Keys.Check(r, "eks"); err != nil {
		w.Header().Set("X-Amzn-Errortype", err.Code)
		answer(w, http.StatusForbidden, map[string]string{"message": err.Message})

		return
	}

	name, ok := strings.CutPrefix(r.URL.Path, "/clusters/")
	arn := "arn:aws:eks:" + strings.Split(r.Host, ".")[1] + ":123456789012:cluster/" + name

	k := c.cluster(arn)
	if !ok || k == nil || r.Method != http.MethodGet {
		w.Header().Set("X-Amzn-Errortype", "ResourceNotFoundException")
		answer(w, http.StatusNotFound, map[string]string{"message": "No cluster found for name: " + name + "."})

		return
	}

	if k.raw(w) {
		return
	}

	answer(w, http.StatusOK, map[string]any{"cluster": map[string]any{
		"name": name, "arn": arn, "endpoint": k.Address, "status": "ACTIVE",
		"certificateAuthority": map[string]string{"data": base64.StdEncoding.EncodeToString(k.CA)},
	}})
}

// serveARM is the resource manager of Azure.
// Source: https://learn.microsoft.com/en-us/rest/api/aks/managed-clusters
func (c *Cloud) serveARM(w http.ResponseWriter, r *http.Request) {
	name, isList := strings.CutSuffix(r.URL.Path, "/listClusterUserCredential")
	k := c.cluster(name)

	switch {
	case c.good(r) != scopeARM:
		answer(w, http.StatusUnauthorized, armError("InvalidAuthenticationToken", "The access token is invalid."))
	case k == nil || isList != (r.Method == http.MethodPost) || r.URL.Query().Get("api-version") == "":
		answer(w, http.StatusNotFound, armError("ResourceNotFound", "The Resource was not found."))
	case k.raw(w):
	case isList:
		var all []any
		for _, address := range append([]string{k.Address}, k.Others...) {
			all = append(all, map[string]any{"name": "clusterUser", "value": []byte(k.kubeconfig(address))})
		}

		answer(w, http.StatusOK, map[string]any{"kubeconfigs": all})
	default:
		properties := map[string]any{"provisioningState": "Succeeded", "aadProfile": map[string]any{"managed": true}}
		if k.NoEntra {
			delete(properties, "aadProfile")
		}

		answer(w, http.StatusOK, map[string]any{"id": name, "location": "westeurope", "properties": properties})
	}
}

func armError(code, message string) any {
	return map[string]any{"error": map[string]string{"code": code, "message": message}}
}

// kubeconfig is as AKS makes them: a program gets the token.
func (k *Cluster) kubeconfig(address string) string {
	return fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %q}}],
users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: kubelogin, args: [get-token]}}}]}`,
		address, base64.StdEncoding.EncodeToString(k.CA))
}

// serveGKE describes clusters.
// Source: https://cloud.google.com/kubernetes-engine/docs/reference/rest/v1/projects.locations.clusters/get
func (c *Cloud) serveGKE(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/v1/")
	k := c.cluster(name)

	switch {
	case c.good(r) != googleScope:
		answer(w, http.StatusUnauthorized, map[string]any{"error": map[string]any{
			"code": http.StatusUnauthorized, "status": "UNAUTHENTICATED", "message": "Invalid Credentials",
		}})
	case k == nil || r.Method != http.MethodGet:
		answer(w, http.StatusNotFound, map[string]any{"error": map[string]any{
			"code": http.StatusNotFound, "status": "NOT_FOUND", "message": "Not found: " + name + ".",
		}})
	case k.raw(w):
	default:
		others := append(append([]string{}, k.Others...), "", "")
		answer(w, http.StatusOK, map[string]any{
			"name": name, "endpoint": strings.TrimPrefix(k.Address, "https://"),
			"masterAuth": map[string]string{"clusterCaCertificate": base64.StdEncoding.EncodeToString(k.CA)},
			"controlPlaneEndpointsConfig": map[string]any{
				"ipEndpointsConfig": map[string]any{"enabled": true, "privateEndpoint": others[0]},
				"dnsEndpointConfig": map[string]any{"endpoint": others[1]},
			},
		})
	}
}

func (k *Cluster) raw(w http.ResponseWriter) bool {
	if k.Raw != "" {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(k.Raw))
	}

	return k.Raw != ""
}

// ServeTokenReview says to an API server whether a token opens the cluster with this name, by its ARN, resource ID or name, as
// the webhook of each cloud does. Who has a good token may do everything.
func (c *Cloud) ServeTokenReview(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Spec       struct {
				Token string `json:"token"`
			} `json:"spec"`
		}
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)

			return
		}

		status := map[string]any{"authenticated": false}
		if c.opens(review.Spec.Token, name) {
			status = map[string]any{"authenticated": true, "user": map[string]any{"username": "weir", "groups": []string{"system:masters"}}}
		}

		answer(w, http.StatusOK, map[string]any{"apiVersion": review.APIVersion, "kind": review.Kind, "status": status})
	})
}

func (c *Cloud) opens(token, name string) bool {
	c.mu.Lock()
	scope := c.tokens[token]
	c.mu.Unlock()

	switch {
	case strings.HasPrefix(name, "arn:"):
		_, short := cutLast(name, "/")

		return c.opensEKS(token, short)
	case strings.HasPrefix(name, "/subscriptions/"):
		return scope == scopeAKS
	default:
		return scope == googleScope
	}
}

// opensEKS verifies a token of EKS, which is a signed request for who one is, by asking what the service would say to it.
// Source: https://github.com/kubernetes-sigs/aws-iam-authenticator#api-authorization-from-outside-a-cluster
func (c *Cloud) opensEKS(token, cluster string) bool {
	encoded, ok := strings.CutPrefix(token, "k8s-aws-v1.")

	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if !ok || err != nil {
		return false
	}

	u, err := url.Parse(string(raw))
	if err != nil || u.Scheme != "https" || !strings.HasPrefix(u.Host, "sts.") || !strings.HasSuffix(u.Host, ".amazonaws.com") {
		return false
	}

	q := u.Query()
	if q.Get("Action") != "GetCallerIdentity" || !strings.Contains(q.Get("X-Amz-SignedHeaders"), "x-k8s-aws-id") ||
		q.Get("X-Amz-Expires") == "" {
		return false
	}

	// The same signature, as a header.
	r := &http.Request{Method: http.MethodGet, Host: u.Host, URL: u, Header: http.Header{}}
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+q.Get("X-Amz-Credential")+
		",SignedHeaders="+q.Get("X-Amz-SignedHeaders")+",Signature="+q.Get("X-Amz-Signature"))
	r.Header.Set("X-Amz-Date", q.Get("X-Amz-Date"))
	r.Header.Set("X-Amz-Security-Token", q.Get("X-Amz-Security-Token"))
	r.Header.Set("X-K8s-Aws-Id", cluster)
	r.Header.Set("X-Amz-Content-Sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
	q.Del("X-Amz-Signature")
	u.RawQuery = q.Encode()

	_, refused := c.Keys.Check(r, "sts")

	return refused == nil
}
