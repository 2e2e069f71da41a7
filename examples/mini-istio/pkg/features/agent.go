//go:build agent

package features

func init() { compiled = append(compiled, "agent") }
