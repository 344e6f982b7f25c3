package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	helmv2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/test/registry"
)

// definitionCount is how many custom resource definitions a large cluster has beside ours.
const definitionCount = 300

// releaseFleet is many HelmReleases of one chart in a registry.
type releaseFleet struct {
	settings

	what     string // releases or definitions
	n        int
	registry *registry.Server
	version  int // of the chart
}

func (f *releaseFleet) about() about {
	return about{name: f.what, objects: f.n, fakeNode: f.settings.replicas > 0, controllers: "source,helm"}
}

func (f *releaseFleet) parts() []part {
	return []part{
		{"install", true, f.install},
		{"idle", f.idle > 0, func(ctx context.Context, s *stage) (figures, error) { return idle(ctx, s, f.n) }},
		{"upgrade", true, f.upgrade},
		{"next upgrade", true, f.upgrade},
		{"uninstall", true, f.uninstall},
	}
}

func (f *releaseFleet) open(ctx context.Context, s *stage) (server, error) {
	dir := filepath.Join(s.dir, "registry")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}

	r, err := registry.Serve(ctx, registry.Options{Dir: dir})
	if err != nil {
		return nil, fmt.Errorf("start registry: %w", err)
	}

	f.registry = r

	if f.what == definitions {
		return artifacts{r}, define(s, definitionCount)
	}

	return artifacts{r}, nil
}

// define makes the cluster serve so many kinds more.
func define(s *stage, n int) error {
	all := make([]*apiextensionsv1.CustomResourceDefinition, n)

	for i := range all {
		kind := fmt.Sprintf("Thing%03d", i)
		plural := fmt.Sprintf("thing%03ds", i)
		group := fmt.Sprintf("group%02d.example.org", i%30)

		all[i] = &apiextensionsv1.CustomResourceDefinition{
			ObjectMeta: metav1.ObjectMeta{Name: plural + "." + group},
			Spec: apiextensionsv1.CustomResourceDefinitionSpec{
				Group: group, Scope: apiextensionsv1.NamespaceScoped,
				Names: apiextensionsv1.CustomResourceDefinitionNames{Kind: kind, ListKind: kind + "List", Plural: plural, Singular: "thing" + plural[5:8]},
				Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
					Name: "v1", Served: true, Storage: true, Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: thing()},
				}},
			},
		}
	}

	if _, err := envtest.InstallCRDs(s.cluster.Config(), envtest.CRDInstallOptions{CRDs: all, MaxTime: patience}); err != nil {
		return fmt.Errorf("install definitions: %w", err)
	}

	return nil
}

// thing is a schema with some dozens of fields.
func thing() *apiextensionsv1.JSONSchemaProps {
	spec := apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{}}
	for i := range 30 {
		spec.Properties[fmt.Sprintf("field%02d", i)] = apiextensionsv1.JSONSchemaProps{
			Type: "object", Description: "What it is for is said here, in a sentence or two, as definitions do.",
			Properties: map[string]apiextensionsv1.JSONSchemaProps{"name": {Type: "string"}, "count": {Type: "integer"}},
		}
	}

	return &apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"spec": spec}}
}

// publish pushes a new version of the chart, and returns the version as it is released.
func (f *releaseFleet) publish(ctx context.Context) (string, error) {
	f.version++

	pkg, err := packChart(f.version)
	if err != nil {
		return "", err
	}

	image, err := registry.Chart(pkg, nil)
	if err != nil {
		return "", fmt.Errorf("make artifact: %w", err)
	}

	digest, err := f.registry.Push(ctx, chartName, chartVersion(f.version), image)
	if err != nil {
		return "", fmt.Errorf("push chart: %w", err)
	}

	return chartVersion(f.version) + "+" + digest.Hex[:12], nil
}

func (f *releaseFleet) source() *sourcev1.OCIRepository {
	source := newOCIRepository(chartName, f.registry.Addr, f.interval)
	source.Spec.Reference = &sourcev1.OCIRepositoryRef{SemVer: ">=1.0.0"}
	source.Spec.LayerSelector = &sourcev1.OCILayerSelector{MediaType: "application/vnd.cncf.helm.chart.content.v1.tar+gzip", Operation: sourcev1.OCILayerCopy}

	return source
}

func (f *releaseFleet) release(i int) (*helmv2.HelmRelease, error) {
	values, err := json.Marshal(map[string]any{"application": appName(i), "replicaCount": f.settings.replicas})
	if err != nil {
		return nil, fmt.Errorf("write values: %w", err)
	}

	return &helmv2.HelmRelease{
		ObjectMeta: metav1.ObjectMeta{Name: appName(i), Namespace: namespace},
		Spec: helmv2.HelmReleaseSpec{
			Interval: metav1.Duration{Duration: f.interval}, Timeout: &metav1.Duration{Duration: patience},
			ChartRef: &helmv2.CrossNamespaceSourceReference{Kind: sourcev1.OCIRepositoryKind, Name: chartName},
			Values:   &apiextensionsv1.JSON{Raw: values},
		},
	}, nil
}

// install creates the source and all HelmReleases, and waits until they are Ready.
func (f *releaseFleet) install(ctx context.Context, s *stage) (figures, error) {
	version, err := f.publish(ctx)
	if err != nil {
		return nil, err
	}

	start := time.Now()

	if err := s.client.Create(ctx, f.source()); err != nil {
		return nil, fmt.Errorf("create source: %w", err)
	}

	if err := each(ctx, f.n, func(ctx context.Context, i int) error {
		obj, err := f.release(i)
		if err != nil {
			return err
		}

		if err := s.client.Create(ctx, obj); err != nil {
			return fmt.Errorf("create HelmRelease: %w", err)
		}

		return nil
	}); err != nil {
		return nil, err
	}

	created := time.Since(start)

	x, err := f.released(ctx, s, start, version)
	if err == nil {
		x["created_s"] = created.Seconds()
	}

	return x, err
}

// upgrade pushes another version of the chart, asks the source to look, and waits until all are Ready with it.
func (f *releaseFleet) upgrade(ctx context.Context, s *stage) (figures, error) {
	version, err := f.publish(ctx)
	if err != nil {
		return nil, err
	}

	start := time.Now()

	ask := &origin{source: func(int) source { return f.source() }, shared: true}
	if err := ask.ask(ctx, s, 1); err != nil {
		return nil, err
	}

	return f.released(ctx, s, start, version)
}

// released waits until all have released the version.
func (f *releaseFleet) released(ctx context.Context, s *stage, start time.Time, version string) (figures, error) {
	want := make(map[string]string, f.n)
	for i := range f.n {
		want[appName(i)] = version
	}

	times, err := await(ctx, s, &helmv2.HelmReleaseList{}, want, func(obj *helmv2.HelmRelease, version string) bool {
		latest := obj.Status.History.Latest()

		return latest != nil && latest.ChartVersion == version && obj.Status.ObservedGeneration == obj.Generation &&
			engine.IsTrue(obj, meta.ReadyCondition)
	})
	if err != nil {
		return nil, err
	}

	half, most, all := latencies(start, times)

	return figures{"p50_s": half, "p95_s": most, "ready_s": all}, nil
}

// uninstall deletes all HelmReleases and waits until they are gone.
func (f *releaseFleet) uninstall(ctx context.Context, s *stage) (figures, error) {
	start := time.Now()

	if err := s.client.DeleteAllOf(ctx, &helmv2.HelmRelease{}, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("delete HelmReleases: %w", err)
	}

	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	for {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(helmv2.GroupVersion.WithKind(helmv2.HelmReleaseKind + "List"))

		if err := s.client.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return nil, fmt.Errorf("list HelmReleases: %w", err)
		}

		if len(list.Items) == 0 {
			return figures{"gone_s": time.Since(start).Seconds()}, nil
		}

		if err := pass(ctx, time.Second/4); err != nil {
			return nil, err
		}
	}
}
