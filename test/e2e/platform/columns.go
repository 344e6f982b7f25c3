package platform

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
)

// Columns returns what `kubectl get` prints about the object, by the titles of the columns.
func (c *Client) Columns(ctx context.Context, kind schema.GroupVersionKind, namespace, name string) (map[string]string, error) {
	clientset, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return nil, err
	}

	resource, _ := meta.UnsafeGuessKindToResource(kind)

	answer, err := clientset.RESTClient().Get().
		AbsPath("/apis", kind.Group, kind.Version, "namespaces", namespace, resource.Resource, name).
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("print %s %s/%s: %w", kind.Kind, namespace, name, err)
	}

	var table metav1.Table
	if err := json.Unmarshal(answer, &table); err != nil {
		return nil, fmt.Errorf("print %s %s/%s: %w", kind.Kind, namespace, name, err)
	}

	columns := map[string]string{}

	for _, row := range table.Rows {
		for i, cell := range row.Cells {
			columns[table.ColumnDefinitions[i].Name] = fmt.Sprint(cell)
		}
	}

	return columns, nil
}
