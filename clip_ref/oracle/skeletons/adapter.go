// An adapter: it lets clip-ref ask your implementation, one request a line, and answers each by one line.
//
//	go build -o adapter adapter.go
//	clip-ref conformance -- ./adapter
package main

import (
	"bufio"
	"encoding/json"
	"io"
	"log"
	"os"
)

const wireVersion = 1

// refused is an input that must be refused. It says whose fault that is.
type refused struct {
	Kind    string `json:"kind"`
	Culprit any    `json:"culprit,omitempty"`
}

func (r refused) Error() string { return r.Kind }

// errArgument is the caller's own fault.
var errArgument = refused{Kind: "argument"}

// party is the fault of a client, by its id, or of the "server".
func party(culprit any) error { return refused{Kind: "party", Culprit: culprit} }

// hello says who you are.
func hello(json.RawMessage) (any, error) {
	return map[string]any{"name": "my implementation", "wire_version": wireVersion}, nil
}

// checkIDs is a worked example. Call your own code here: bytes come as hexadecimal digits, hex.DecodeString reads them.
func checkIDs(inputs json.RawMessage) (any, error) {
	var in struct {
		IDs []int64 `json:"ids"`
	}
	if err := json.Unmarshal(inputs, &in); err != nil {
		return nil, err
	}
	last := int64(-1)
	for _, id := range in.IDs {
		if id <= last || id >= 1<<32-1 {
			return nil, party("server")
		}
		last = id
	}
	return true, nil
}

var operations = map[string]func(json.RawMessage) (any, error){
	"hello":              hello,
	"messages.check_ids": checkIDs,
}

// answer gives an output, an error, or that there is no such operation here.
func answer(operation string, inputs json.RawMessage) map[string]any {
	call, ok := operations[operation]
	if !ok {
		return map[string]any{"unsupported": true}
	}
	output, err := call(inputs)
	if why, ok := err.(refused); ok {
		return map[string]any{"error": why}
	}
	if err != nil {
		log.Fatal(err)
	}
	return map[string]any{"output": output}
}

// main answers until there are no more requests. Anything else that you print must go to os.Stderr.
func main() {
	requests := bufio.NewReader(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for {
		line, err := requests.ReadBytes('\n')
		if err == io.EOF {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		var request struct {
			ID        int64           `json:"id"`
			Operation string          `json:"operation"`
			Inputs    json.RawMessage `json:"inputs"`
		}
		if err := json.Unmarshal(line, &request); err != nil {
			log.Fatal(err)
		}
		answered := answer(request.Operation, request.Inputs)
		answered["id"] = request.ID
		if err := answers.Encode(answered); err != nil {
			log.Fatal(err)
		}
	}
}
