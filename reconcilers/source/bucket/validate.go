package bucket

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/cloud"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// validate refuses what no attempt can make right. The rules are those of the definition, which an object that was stored
// before them has never met.
func (r *reconciler) validate(_ context.Context, obj *sourcev1.Bucket, _ *scope) error {
	if err := checkSTS(obj); err != nil {
		return engine.Stall(sourcev1.InvalidSTSConfigurationReason, err)
	}

	if err := checkEndpoint(obj); err != nil {
		return engine.Stall(sourcev1.URLInvalidReason, err)
	}

	switch spec := obj.Spec; {
	case spec.ServiceAccountName != "" && obj.GetProvider() == meta.ProviderGeneric:
		return engine.Stall(meta.AuthenticationFailedReason,
			errors.New("ServiceAccountName is not supported for the 'generic' Bucket provider"))
	case spec.ServiceAccountName != "" && spec.SecretRef != nil:
		return engine.Stall(meta.AuthenticationFailedReason,
			errors.New("cannot set both .spec.secretRef and .spec.serviceAccountName"))
	}

	return nil
}

// checkSTS checks where temporary credentials come from.
func checkSTS(obj *sourcev1.Bucket) error {
	sts := obj.Spec.STS
	if sts == nil {
		return nil
	}

	provider := obj.GetProvider()

	switch {
	case provider != meta.ProviderAWS && provider != meta.ProviderGeneric:
		return errors.New("STS configuration is only supported for the 'aws' and 'generic' Bucket providers")
	case provider == meta.ProviderAWS && sts.Provider != sourcev1.STSProviderAWS:
		return errors.New("'aws' is the only supported STS provider for the 'aws' Bucket provider")
	case provider == meta.ProviderGeneric && sts.Provider != sourcev1.STSProviderLDAP:
		return errors.New("'ldap' is the only supported STS provider for the 'generic' Bucket provider")
	case sts.Provider == sourcev1.STSProviderAWS && sts.SecretRef != nil:
		return errors.New("spec.sts.secretRef is not required for the 'aws' STS provider")
	case sts.Provider == sourcev1.STSProviderAWS && sts.CertSecretRef != nil:
		return errors.New("spec.sts.certSecretRef is not required for the 'aws' STS provider")
	case sts.Provider == sourcev1.STSProviderAWS:
		return cloud.CheckSTSEndpoint(sts.Endpoint) //nolint:wrapcheck // it names the endpoint
	}

	if u, err := url.Parse(sts.Endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("failed to parse STS Endpoint '%s': it is no URL of HTTP", ingest.Redact(sts.Endpoint))
	}

	return nil
}

// checkEndpoint checks that the endpoint is a host, or for Azure a URL.
func checkEndpoint(obj *sourcev1.Bucket) error {
	endpoint := obj.Spec.Endpoint

	if obj.GetProvider() == meta.ProviderAzure {
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil {
			return fmt.Errorf("endpoint '%s' is no URL of a storage account", ingest.Redact(endpoint))
		}

		return nil
	}

	u, err := url.Parse("https://" + endpoint)
	if err != nil || u.Host == "" || u.Host != endpoint {
		return fmt.Errorf("endpoint '%s' is no <host>[:<port>]", ingest.Redact(endpoint))
	}

	return nil
}
