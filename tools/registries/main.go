// Two registries that others wrote, for the tests: each reads the specification in its own way. What was pushed is kept in memory.
package main

import (
	"log"
	"net/http"
	"os"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"
)

func newOlareg() http.Handler {
	deletes := true
	return olareg.New(config.Config{
		Storage: config.ConfigStorage{StoreType: config.StoreMem},
		API:     config.ConfigAPI{DeleteEnabled: &deletes},
	})
}

func newOciregistry() http.Handler {
	return ociserver.New(ocimem.New(), nil)
}

func main() {
	makers := map[string]func() http.Handler{"olareg": newOlareg, "ociregistry": newOciregistry}
	if len(os.Args) != 3 || makers[os.Args[1]] == nil {
		log.Fatal("usage: registries olareg|ociregistry ADDRESS:PORT")
	}
	log.Fatal(http.ListenAndServe(os.Args[2], makers[os.Args[1]]()))
}
