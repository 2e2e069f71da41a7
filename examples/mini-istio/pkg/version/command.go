package version

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"

	"istio.io/istio/pkg/features"
)

// Run is the "version" subcommand of every binary. Istio's istioctl prints the short form by default, the others the
// long one.
func Run(name string, short bool, args []string, out io.Writer) error {
	flags := flag.NewFlagSet(name+" version", flag.ContinueOnError)
	output := flags.String("o", "", "'json' for machines")
	flags.StringVar(output, "output", "", "same as -o")
	flags.BoolVar(&short, "short", short, "only the version number")
	flags.Bool("remote", false, "accepted for Istio's sake: there is no cluster to ask")
	tags := flags.Bool("features", false, "print the build tags this binary was compiled with")
	platform := flags.Bool("platform", false, "print the stamped operating system and architecture")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case *tags:
		fmt.Fprintln(out, features.Compiled())
	case *platform:
		fmt.Fprintln(out, Platform())
	case *output == "json":
		return writeJSON(out)
	case *output != "":
		return fmt.Errorf("--output must be 'json', not %q", *output)
	case short:
		fmt.Fprintln(out, "client version:", Info.Version)
	default:
		fmt.Fprintln(out, "client version:", Info.longForm())
	}
	return nil
}

func writeJSON(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(map[string]BuildInfo{"clientVersion": Info})
}
