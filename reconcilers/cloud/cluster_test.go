package cloud_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/reconcilers/cloud"
	clouds "github.com/weir-dev/weir/test/cloud"
)

const (
	eksName = "arn:aws:eks:us-east-1:123456789012:cluster/one"
	aksName = "/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/g/providers/" +
		"Microsoft.ContainerService/managedClusters/one"
	gkeName = "projects/p/locations/europe-west1/clusters/one"
)

func TestCluster(t *testing.T) {
	ca := string(sky.Authority.PEM)
	eks := &clouds.Cluster{Address: "https://ABC.gr7.us-east-1.eks.amazonaws.com", CA: []byte(ca)}
	aks := &clouds.Cluster{
		Address: "https://one.hcp.westeurope.azmk8s.io:443", CA: []byte(ca),
		Others: []string{"https://one.privatelink.westeurope.azmk8s.io:443"},
	}
	gke := &clouds.Cluster{Address: "192.0.2.7", CA: []byte(ca), Others: []string{"10.0.0.2", "gke-1-2.europe-west1.gke.goog"}}
	raw := func(s string) *clouds.Cluster { return &clouds.Cluster{Raw: s} }

	cases := map[string]struct {
		reason  string
		request cloud.Request
		name    cloud.ClusterName
		cluster *clouds.Cluster
		address string
		ca      string
		err     string
	}{
		"EKS": {
			"Amazon says where it is.", request(cloud.AWS, "reader"), cloud.ClusterName{Resource: eksName}, eks,
			"https://abc.gr7.us-east-1.eks.amazonaws.com:443", ca, "",
		},
		"EKSAddress": {
			"The address may be written.", request(cloud.AWS, "reader"),
			cloud.ClusterName{Resource: eksName, Address: "abc.GR7.us-east-1.eks.amazonaws.com"}, eks,
			"https://abc.gr7.us-east-1.eks.amazonaws.com:443", ca, "",
		},
		"EKSElsewhere": {
			"But not another one.", request(cloud.AWS, "reader"), cloud.ClusterName{Resource: eksName, Address: "https://evil.test"}, eks,
			"", "", `address "https://evil.test:443" is none of the cluster, which has https://abc.gr7.us-east-1.eks.amazonaws.com:443`,
		},
		"EKSAccount": {
			"A cluster of the same name in the account of the identity is another one.", request(cloud.AWS, "reader"),
			cloud.ClusterName{Resource: strings.Replace(eksName, "123456789012", "999999999999", 1)}, eks,
			"", "", `the identity sees EKS cluster "` + eksName + `", and not "arn:aws:eks:us-east-1:999999999999:cluster/one"`,
		},
		"EKSMissing": {
			"It has to be there.", request(cloud.AWS, "reader"), cloud.ClusterName{Resource: eksName}, nil,
			"", "", "describe aws cluster as service account 'apps/reader': ResourceNotFoundException: No cluster found for name: one.",
		},
		"EKSName": {
			"A name is no path.", request(cloud.AWS, "reader"), cloud.ClusterName{Resource: eksName + "/../x"}, eks,
			"", "", "invalid EKS cluster ARN",
		},
		"EKSRegion": {
			"A region is no host.", request(cloud.AWS, "reader"),
			cloud.ClusterName{Resource: strings.Replace(eksName, "us-east-1", "evil.test/?x=us-east-1", 1)}, eks,
			"", "", "invalid EKS cluster ARN",
		},
		"EKSNew": {
			"It has no address at first.", request(cloud.AWS, "reader"), cloud.ClusterName{Resource: eksName},
			raw(`{"cluster":{"name":"one","arn":"` + eksName + `","status":"CREATING"}}`), "", "", `EKS cluster "` + eksName + `" has no endpoint yet`,
		},
		"EKSNobody": {
			"Who has no role learns nothing.", request(cloud.AWS, "nobody"), cloud.ClusterName{Resource: eksName}, eks,
			"", "", "get aws credentials of service account 'apps/nobody': AccessDenied",
		},
		"NoAccount": {
			"The identity has to be there.", request(cloud.AWS, "gone"), cloud.ClusterName{Resource: eksName}, eks,
			"", "", "failed to get service account 'apps/gone'",
		},
		"AKS": {
			"Azure says where it is.", request(cloud.Azure, "reader"), cloud.ClusterName{Resource: aksName}, aks,
			"https://one.hcp.westeurope.azmk8s.io:443", ca, "",
		},
		"AKSPrivate": {
			"A cluster may have several addresses.", request(cloud.Azure, "reader"),
			cloud.ClusterName{Resource: aksName, Address: "https://one.privatelink.westeurope.azmk8s.io"}, aks,
			"https://one.privatelink.westeurope.azmk8s.io:443", ca, "",
		},
		"AKSElsewhere": {
			"But not any.", request(cloud.Azure, "reader"), cloud.ClusterName{Resource: aksName, Address: "https://evil.test"}, aks,
			"", "", "describe azure cluster as service account 'apps/reader': no kubeconfig found for AKS cluster",
		},
		"AKSUsers": {
			"Who has users of its own cannot be told who we are.", request(cloud.Azure, "reader"), cloud.ClusterName{Resource: aksName},
			&clouds.Cluster{Address: aks.Address, CA: aks.CA, NoEntra: true},
			"", "", "does not have Microsoft Entra ID integration enabled",
		},
		"AKSMissing": {
			"It has to be there.", request(cloud.Azure, "reader"), cloud.ClusterName{Resource: aksName}, nil,
			"", "", "describe azure cluster as service account 'apps/reader': ResourceNotFound: 404 Not Found",
		},
		"AKSEmpty": {
			"An answer may lack everything.", request(cloud.Azure, "reader"), cloud.ClusterName{Resource: aksName}, raw(`{}`),
			"", "", "the answer has no properties",
		},
		"AKSName": {
			"The name is an ID.", request(cloud.Azure, "reader"), cloud.ClusterName{Resource: "one"}, aks, "", "", "invalid AKS cluster ID: 'one'",
		},
		"GKE": {
			"Google says where it is.", request(cloud.GCP, "reader"), cloud.ClusterName{Resource: gkeName}, gke,
			"https://192.0.2.7:443", ca, "",
		},
		"GKEPrivate": {
			"It has an address inside.", request(cloud.GCP, "reader"), cloud.ClusterName{Resource: gkeName, Address: "10.0.0.2"}, gke,
			"https://10.0.0.2:443", ca, "",
		},
		"GKEName": {
			"And a name, with a certificate of a public authority.", request(cloud.GCP, "reader"),
			cloud.ClusterName{Resource: gkeName, Address: "https://gke-1-2.europe-west1.gke.goog"}, gke,
			"https://gke-1-2.europe-west1.gke.goog:443", "", "",
		},
		"GKEElsewhere": {
			"But no other.", request(cloud.GCP, "reader"), cloud.ClusterName{Resource: gkeName, Address: "https://evil.test"}, gke,
			"", "", `address "https://evil.test:443" is none of the cluster`,
		},
		"GKEMissing": {
			"It has to be there.", request(cloud.GCP, "reader"), cloud.ClusterName{Resource: gkeName}, nil,
			"", "", "describe gcp cluster as service account 'apps/reader': NOT_FOUND: Not found: " + gkeName,
		},
		"GKEPath": {
			"A name leads nowhere else.", request(cloud.GCP, "reader"), cloud.ClusterName{Resource: "projects/p/locations/l/clusters/../../x"}, gke,
			"", "", "invalid GKE cluster",
		},
		"GKEEmpty": {
			"An answer may lack everything.", request(cloud.GCP, "reader"), cloud.ClusterName{Resource: gkeName}, raw(`{}`),
			"", "", "the cloud gave no usable certificate of the cluster",
		},
		"PlainHTTP": {
			"Tokens do not travel in the open.", request(cloud.GCP, "reader"), cloud.ClusterName{Resource: gkeName, Address: "http://192.0.2.7"}, gke,
			"", "", "the Kubernetes API server address 'http://192.0.2.7' must use https scheme",
		},
		"Generic": {
			"No other cloud has clusters.", request("generic", "reader"), cloud.ClusterName{Resource: gkeName}, gke,
			"", "", `provider "generic" is none of`,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, n := range []string{eksName, aksName, gkeName} {
				sky.SetCluster(n, nil)
			}

			sky.SetCluster(map[string]string{cloud.AWS: eksName, cloud.Azure: aksName, cloud.GCP: gkeName}[tc.request.Provider], tc.cluster)

			c, _, _ := credentials(t)

			got, err := c.Cluster(t.Context(), tc.request, tc.name)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || got.Token != "" {
					t.Errorf("%s\nerror: %v, want: %s", tc.reason, err, tc.err)
				}

				return
			}

			if err != nil {
				t.Fatalf("%s\nerror: %v", tc.reason, err)
			}

			if diff := cmp.Diff([]string{tc.address, tc.ca}, []string{got.Address, string(got.CA)}); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}

			if got.Token == "" || !got.Expires.After(time.Now()) {
				t.Errorf("%s\nthe token expires at %s", tc.reason, got.Expires)
			}
		})
	}
}

// A token of EKS is a signature, which ends with the keys that it was made with.
func TestClusterTokenEndsWithItsKeys(t *testing.T) {
	c, _, _ := credentials(t)

	sky.SetCluster(eksName, &clouds.Cluster{Address: "https://abc.eks.amazonaws.com", CA: sky.Authority.PEM})

	for lifetime, want := range map[time.Duration]time.Duration{time.Hour: 15 * time.Minute, 5 * time.Minute: 5 * time.Minute} {
		sky.Lifetime = lifetime
		c.Forget("OCIRepository", "apps", "app")

		before := time.Now()

		got, err := c.Cluster(t.Context(), request(cloud.AWS, "reader"), cloud.ClusterName{Resource: eksName})
		if err != nil {
			t.Fatal(err)
		}

		if left := got.Expires.Sub(before); left > want+time.Since(before) || left < want-time.Second-time.Since(before) {
			t.Errorf("with keys for %s, the token is good for %s", lifetime, left)
		}
	}

	sky.Lifetime = 0
}

// No cloud is told anything by what is obviously wrong.
func TestClusterAsksNobodyInVain(t *testing.T) {
	c, cluster, _ := credentials(t)

	for provider, name := range map[string]string{cloud.AWS: "one", cloud.GCP: "one"} {
		if _, err := c.Cluster(t.Context(), request(provider, "reader"), cloud.ClusterName{Resource: name}); err == nil {
			t.Errorf("%s has a cluster %q", provider, name)
		}
	}

	if got := sky.Requests(); len(got) != 0 || cluster.tokens.Load() != 0 {
		t.Errorf("requests: %v, %d tokens", got, cluster.tokens.Load())
	}
}
