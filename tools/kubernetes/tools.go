//go:build tools

// Package kubernetes names the two programs that tools/setup-kubernetes builds, so that `go mod tidy`
// keeps what they need.
package kubernetes

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
)
