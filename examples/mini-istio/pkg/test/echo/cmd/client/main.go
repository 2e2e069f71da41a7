// client answers "version" like Istio's other programs, and does nothing else: no test of Istio's can talk through it.
package main

import (
	"fmt"
	"os"

	"istio.io/istio/pkg/version"
)

func main() {
	if len(os.Args) < 2 || os.Args[1] != "version" {
		fmt.Fprintln(os.Stderr, "usage: client version [-o json] [--short] [--features] [--platform]")
		os.Exit(2)
	}
	if err := version.Run("client", false, os.Args[2:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}
