package operator

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// flag is the argument that tells the program which image it is.
const flag = "--image"

// place is where the pods of a template say what they run.
type place struct {
	Build
	container int
	name      string // of the container
	argument  int    // index among its arguments
	prefix    string // of that argument before the value: "--image=", or nothing if it stands alone
}

// locate finds the container that runs this process, and its argument: among the containers that have such an argument the one with the
// name, if it is known, or else the one that has it from the process: what it was told.
func locate(pod corev1.PodSpec, name, told string) (place, error) {
	var found []place
	for i, c := range pod.Containers {
		if p, ok := argument(c); ok && (name == "" || c.Name == name) {
			p.container, p.name, p.Image = i, c.Name, c.Image
			found = append(found, p)
		}
	}
	if len(found) > 1 {
		found = slices.DeleteFunc(found, func(p place) bool { return p.Argument != told })
	}
	switch {
	case len(found) == 0:
		return place{}, fmt.Errorf("no container has an argument %s", flag)
	case len(found) > 1:
		return place{}, fmt.Errorf("more than one container has the argument %s", flag)
	case strings.Contains(found[0].Argument, "$("):
		return place{}, fmt.Errorf("the argument %s of container %q comes from its environment", flag, found[0].name)
	}
	return found[0], nil
}

// argument finds the last argument with the image, which is the one that counts.
func argument(c corev1.Container) (p place, ok bool) {
	for i, a := range c.Args {
		if value, is := strings.CutPrefix(a, flag+"="); is {
			p, ok = place{argument: i, prefix: flag + "=", Build: Build{Argument: value}}, true
		} else if a == flag && i+1 < len(c.Args) {
			p, ok = place{argument: i + 1, Build: Build{Argument: c.Args[i+1]}}, true
		}
	}
	return p, ok
}

// unfit says why a Deployment must not be given another image. One that takes the old pod away before the new one works leaves nobody to go
// back, should it not.
func unfit(spec appsv1.DeploymentSpec) string {
	if err := supervised(spec); err != nil {
		return err.Error()
	}
	return ""
}

func supervised(spec appsv1.DeploymentSpec) error {
	switch {
	case spec.Paused:
		return errors.New("its rollout is paused")
	case spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType:
		return errors.New("its strategy is Recreate, which leaves nobody to put the image back")
	}
	replicas := 1
	if spec.Replicas != nil {
		replicas = int(*spec.Replicas)
	}
	if r := spec.Strategy.RollingUpdate; r != nil && r.MaxUnavailable != nil && replicas > 0 {
		away, err := intstr.GetScaledValueFromIntOrPercent(r.MaxUnavailable, replicas, false)
		if err != nil {
			return fmt.Errorf("its maxUnavailable: %w", err)
		}
		if away >= replicas {
			return fmt.Errorf("its maxUnavailable %s allows all of its pods to be away, which leaves nobody to put the image back", r.MaxUnavailable)
		}
	}
	return nil
}
