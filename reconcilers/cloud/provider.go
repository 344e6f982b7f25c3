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
		return azure.Provider{Implementation: azureCalls{h}}, nil
	case GCP:
		return gcp.Provider{Implementation: gcpCalls{h}}, nil
	default:
		return nil, fmt.Errorf("provider %q is none of %q, %q and %q", name, AWS, Azure, GCP)
	}
}

// gitOf returns the provider of the name, which gives credentials for Git.
func gitOf(name string, h httpClient) (gitProvider, error) {
	switch name {
	case AWS:
		return aws.Provider{Implementation: awsCalls{h}}, nil
	case Azure:
		return azure.Provider{Implementation: azureCalls{h}}, nil
	default:
		return nil, fmt.Errorf("provider %q has no Git servers: want %q or %q", name, AWS, Azure)
	}
}

// errCluster says that access to clusters is not made here.
var errCluster = errors.New("access to clusters is not supported")

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
func (awsCalls) DescribeCluster(context.Context, *eks.DescribeClusterInput, eks.Options) (*eks.DescribeClusterOutput, error) {
	return nil, errCluster
}

// PresignGetCallerIdentity implements aws.Implementation.
func (awsCalls) PresignGetCallerIdentity(context.Context, func(*sts.PresignOptions), sts.Options,
) (*signer.PresignedHTTPRequest, error) {
	return nil, errCluster
}

// azureCalls are the requests of provider Azure, by our client.
type azureCalls struct{ httpClient }

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
func (azureCalls) NewManagedClustersClient(string, azcore.TokenCredential, *arm.ClientOptions) (azure.AKSClient, error) {
	return nil, errCluster
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

// GetCluster implements gcp.Implementation.
func (gcpCalls) GetCluster(context.Context, string, *container.Service) (*container.Cluster, error) {
	return nil, errCluster
}
