package cloud

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/containerservice/armcontainerservice"
)

// resourceManager returns the cloud that a token with the scopes is for, so that it goes nowhere else.
func resourceManager(scopes []string) (cloud.Configuration, error) {
	for _, c := range []cloud.Configuration{cloud.AzurePublic, cloud.AzureGovernment, cloud.AzureChina} {
		if slices.Equal(scopes, []string{c.Services[cloud.ResourceManager].Audience + "/.default"}) {
			return c, nil
		}
	}

	return cloud.Configuration{}, fmt.Errorf("there is no resource manager for the scopes %q", scopes)
}

// aksClient makes errors of answers that lack what every caller counts on.
type aksClient struct {
	*armcontainerservice.ManagedClustersClient
}

// Get implements azure.AKSClient.
func (c aksClient) Get(ctx context.Context, group, name string, o *armcontainerservice.ManagedClustersClientGetOptions,
) (armcontainerservice.ManagedClustersClientGetResponse, error) {
	found, err := c.ManagedClustersClient.Get(ctx, group, name, o)
	if err == nil && found.Properties == nil {
		err = errors.New("the answer has no properties")
	}

	return found, err
}

// ListClusterUserCredentials implements azure.AKSClient.
func (c aksClient) ListClusterUserCredentials(ctx context.Context, group, name string,
	o *armcontainerservice.ManagedClustersClientListClusterUserCredentialsOptions,
) (armcontainerservice.ManagedClustersClientListClusterUserCredentialsResponse, error) {
	found, err := c.ManagedClustersClient.ListClusterUserCredentials(ctx, group, name, o)
	if err == nil && slices.Contains(found.Kubeconfigs, nil) {
		err = errors.New("the answer has an empty kubeconfig")
	}

	return found, err
}
