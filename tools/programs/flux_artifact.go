// A command line over the library that Flux pushes and pulls artifacts with.
//
//	flux-artifact push HOST/REPOSITORY:TAG DIRECTORY    prints the reference by digest
//	flux-artifact pull HOST/REPOSITORY:TAG DIRECTORY    prints the artifact's metadata as JSON
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/fluxcd/pkg/oci"
)

func main() {
	if len(os.Args) != 4 {
		fail(fmt.Errorf("usage: flux-artifact push|pull REFERENCE DIRECTORY"))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client := oci.NewClient(oci.DefaultOptions())
	switch reference, directory := os.Args[2], os.Args[3]; os.Args[1] {
	case "push":
		meta := oci.Metadata{Source: "https://git.example.com/team/app", Revision: "main@sha1:0123456789abcdef"}
		digest, err := client.Push(ctx, reference, directory, oci.WithPushMetadata(meta))
		if err != nil {
			fail(err)
		}
		fmt.Println(digest)
	case "pull":
		meta, err := client.Pull(ctx, reference, directory)
		if err != nil {
			fail(err)
		}
		if err := json.NewEncoder(os.Stdout).Encode(meta); err != nil {
			fail(err)
		}
	default:
		fail(fmt.Errorf("unknown command %q", os.Args[1]))
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
