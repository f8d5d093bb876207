module github.com/modproxy/modproxy/examples/bench/oxy

go 1.25.0

require (
	github.com/modproxy/modproxy v0.0.0
	github.com/stretchr/testify v1.12.1
)

require golang.org/x/crypto v0.55.0 // indirect

require (
	github.com/HdrHistogram/hdrhistogram-go v1.1.2 // indirect
	github.com/segmentio/fasthash v1.0.3 // indirect
	github.com/vulcand/oxy/v2 v2.0.3
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/net v0.58.0 // indirect
	golang.org/x/text v0.41.0 // indirect
)

replace github.com/modproxy/modproxy => ../../..
