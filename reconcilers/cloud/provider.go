package cloud

import (
	"context"
	"errors"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/containers/azcontainerregistry"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/containerservice/armcontainerservice"
	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	signer "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/fluxcd/pkg/auth"
	"github.com/fluxcd/pkg/auth/aws"
	"github.com/fluxcd/pkg/auth/azure"
	"github.com/fluxcd/pkg/auth/gcp"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"golang.org/x/oauth2/google/externalaccount"
	"google.golang.org/api/container/v1"
)

type (
	registryProvider = auth.ArtifactRegistryCredentialsProvider
	gitProvider      = auth.GitCredentialsProvider
)

// registryOf returns the provider of the name, which gives credentials for registries.
func registryOf(name string, h httpClient) (registryProvider, error) {
	switch name {
	case AWS:
		return aws.Provider{Implementation: awsCalls{h}}, nil
	case Azure:
		return azure.Provider{Implementation: azureCalls{httpClient: h}}, nil
	case GCP:
		return gcp.Provider{Implementation: gcpCalls{h}}, nil
	default:
		return nil, unknown(name)
	}
}

// gitOf returns the provider of the name, which gives credentials for Git.
func gitOf(name string, h httpClient) (gitProvider, error) {
	switch name {
	case AWS:
		return aws.Provider{Implementation: awsCalls{h}}, nil
	case Azure:
		return azure.Provider{Implementation: azureCalls{httpClient: h}}, nil
	default:
		return nil, fmt.Errorf("provider %q has no Git servers: want %q or %q", name, AWS, Azure)
	}
}

func unknown(provider string) error {
	return fmt.Errorf("provider %q is none of %q, %q and %q", provider, AWS, Azure, GCP)
}

// awsCalls are the requests of provider AWS, by our client.
type awsCalls struct{ httpClient }

// LoadDefaultConfig implements aws.Implementation.
func (a awsCalls) LoadDefaultConfig(ctx context.Context, o ...func(*config.LoadOptions) error) (awssdk.Config, error) {
	return config.LoadDefaultConfig(ctx, append(o, config.WithHTTPClient(a.Client))...)
}

// AssumeRoleWithWebIdentity implements aws.Implementation.
func (a awsCalls) AssumeRoleWithWebIdentity(ctx context.Context, in *sts.AssumeRoleWithWebIdentityInput, o sts.Options,
) (*sts.AssumeRoleWithWebIdentityOutput, error) {
	o.HTTPClient = a.Client

	return sts.New(o).AssumeRoleWithWebIdentity(ctx, in)
}

// GetAuthorizationToken implements aws.Implementation.
func (a awsCalls) GetAuthorizationToken(ctx context.Context, c awssdk.Config) (any, error) {
	c.HTTPClient = a.Client

	return ecr.NewFromConfig(c).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
}

// GetPublicAuthorizationToken implements aws.Implementation.
func (a awsCalls) GetPublicAuthorizationToken(ctx context.Context, c awssdk.Config) (any, error) {
	c.HTTPClient = a.Client

	return ecrpublic.NewFromConfig(c).GetAuthorizationToken(ctx, &ecrpublic.GetAuthorizationTokenInput{})
}

// DescribeCluster implements aws.Implementation.
func (a awsCalls) DescribeCluster(ctx context.Context, in *eks.DescribeClusterInput, o eks.Options,
) (*eks.DescribeClusterOutput, error) {
	o.HTTPClient = a.Client

	return eks.New(o).DescribeCluster(ctx, in)
}

// PresignGetCallerIdentity implements aws.Implementation. It sends nothing.
func (awsCalls) PresignGetCallerIdentity(ctx context.Context, f func(*sts.PresignOptions), o sts.Options,
) (*signer.PresignedHTTPRequest, error) {
	return sts.NewPresignClient(sts.New(o)).PresignGetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}, f)
}

// azureCalls are the requests of provider Azure, by our client.
type azureCalls struct {
	httpClient

	// scopes of the token for the resource manager, which tell which of the Azure clouds it is.
	scopes []string
}

// NewDefaultAzureCredential implements azure.Implementation. It would run programs of the machine, which is never asked for.
func (azureCalls) NewDefaultAzureCredential(*azidentity.DefaultAzureCredentialOptions) (azcore.TokenCredential, error) {
	return nil, errors.New("programs of the machine give no credentials")
}

// NewDefaultAzureCredentialWithoutShellOut implements azure.Implementation.
func (a azureCalls) NewDefaultAzureCredentialWithoutShellOut(o *azidentity.DefaultAzureCredentialOptions,
) (azcore.TokenCredential, error) {
	o.Transport = a.Client

	if c, err := azidentity.NewEnvironmentCredential(&azidentity.EnvironmentCredentialOptions{
		ClientOptions: o.ClientOptions, DisableInstanceDiscovery: o.DisableInstanceDiscovery,
	}); err == nil {
		return c, nil
	}

	if c, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
		ClientOptions: o.ClientOptions, DisableInstanceDiscovery: o.DisableInstanceDiscovery,
	}); err == nil {
		return c, nil
	}

	return managedIdentity{}, nil
}

// managedIdentity is what the node says the process is. It is asked directly, see client.
type managedIdentity struct{}

// GetToken implements azcore.TokenCredential.
func (managedIdentity) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := azure.Provider{}.NewControllerToken(ctx, auth.WithScopes(o.Scopes...))
	if err != nil {
		return azcore.AccessToken{}, err //nolint:wrapcheck // the caller does
	}

	t, ok := token.(*azure.Token)
	if !ok {
		return azcore.AccessToken{}, unexpected(token)
	}

	return t.AccessToken, nil
}

// NewClientAssertionCredential implements azure.Implementation.
func (a azureCalls) NewClientAssertionCredential(tenant, id string, assertion func(context.Context) (string, error),
	o *azidentity.ClientAssertionCredentialOptions,
) (azcore.TokenCredential, error) {
	o.Transport = a.Client

	return azidentity.NewClientAssertionCredential(tenant, id, assertion, o)
}

// ExchangeAADAccessTokenForACRRefreshToken implements azure.Implementation. The service is the host of the registry.
func (a azureCalls) ExchangeAADAccessTokenForACRRefreshToken(ctx context.Context, _ *azcontainerregistry.AuthenticationClient,
	grant azcontainerregistry.PostContentSchemaGrantType, service string,
	o *azcontainerregistry.AuthenticationClientExchangeAADAccessTokenForACRRefreshTokenOptions,
) (azcontainerregistry.AuthenticationClientExchangeAADAccessTokenForACRRefreshTokenResponse, error) {
	c, err := azcontainerregistry.NewAuthenticationClient("https://"+service, &azcontainerregistry.AuthenticationClientOptions{
		ClientOptions: azcore.ClientOptions{Transport: a.Client},
	})
	if err != nil {
		return azcontainerregistry.AuthenticationClientExchangeAADAccessTokenForACRRefreshTokenResponse{}, err
	}

	return c.ExchangeAADAccessTokenForACRRefreshToken(ctx, grant, service, o)
}

// NewManagedClustersClient implements azure.Implementation.
func (a azureCalls) NewManagedClustersClient(subscription string, t azcore.TokenCredential, o *arm.ClientOptions,
) (azure.AKSClient, error) {
	at, err := resourceManager(a.scopes)
	if err != nil {
		return nil, err
	}

	o.Transport, o.Cloud, o.DisableRPRegistration = a.Client, at, true

	c, err := armcontainerservice.NewManagedClustersClient(subscription, t, o)

	return aksClient{c}, err
}

// gcpCalls are the requests of provider GCP, by our client.
type gcpCalls struct{ httpClient }

// DefaultTokenSource implements gcp.Implementation.
func (g gcpCalls) DefaultTokenSource(ctx context.Context, scopes ...string) (oauth2.TokenSource, error) {
	return google.DefaultTokenSource(context.WithValue(ctx, oauth2.HTTPClient, g.Client), scopes...)
}

// NewTokenSource implements gcp.Implementation.
func (g gcpCalls) NewTokenSource(ctx context.Context, c externalaccount.Config) (oauth2.TokenSource, error) {
	return externalaccount.NewTokenSource(context.WithValue(ctx, oauth2.HTTPClient, g.Client), c)
}

// GetCluster implements gcp.Implementation. It is never called, see lookup.gke.
func (gcpCalls) GetCluster(context.Context, string, *container.Service) (*container.Cluster, error) {
	return nil, errors.New("clusters are not looked up by the library")
}
