// Command kube holds the programs of a Kubernetes cluster in one executable,
// because together they are a third of the size, and of the link time, of seven.
// The name it is called by, or else its first argument, says which one it is.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	_ "time/tzdata" // CronJobs with a time zone work on machines without zone files

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// program runs with the arguments, its own name first, and returns the exit status.
type program func(args []string) int

func programs() map[string]program {
	return map[string]program{
		"etcd":                    etcd,
		"kube-apiserver":          component(apiserver.NewAPIServerCommand),
		"kube-controller-manager": component(controllermanager.NewControllerManagerCommand),
		"kube-scheduler":          component(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
		"kubelet":                 component(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }),
		"kube-proxy":              component(proxy.NewProxyCommand),
		"kubectl":                 client,
	}
}

func component(command func() *cobra.Command) program {
	return func([]string) int { return cli.Run(command()) }
}

// etcd exits by itself when it fails.
func etcd(args []string) int {
	etcdmain.Main(args)
	return 0
}

func client(args []string) int {
	if _, err := logs.GlogSetter(kubectl.GetLogVerbosity(args)); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err) // prints it as kubectl does, and exits
	}
	return 0
}

// choose drops what precedes the program's name from the arguments.
func choose(args []string, known map[string]program) (program, []string) {
	for range 2 {
		if len(args) == 0 {
			break
		}
		if p, ok := known[filepath.Base(args[0])]; ok {
			return p, args
		}
		args = args[1:]
	}
	return nil, nil
}

func usage(w io.Writer, known map[string]program) {
	names := make([]string, 0, len(known))
	for n := range known {
		names = append(names, n)
	}
	slices.Sort(names)
	fmt.Fprintf(w, "usage: kube %s [flag ...]\n", strings.Join(names, "|"))
}

func main() {
	known := programs()
	run, args := choose(os.Args, known)
	if run == nil {
		usage(os.Stderr, known)
		os.Exit(2)
	}
	os.Args = args
	os.Exit(run(args))
}
