package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"strings"
	"time"
)

// What the program needs besides its checks: named checks with a time limit, unique names, failing by panic, and the
// broker's kill and restart.

const checkTimeout = 60 * time.Second

type check struct {
	name string
	run  func()
}

// errSkip is what a check fails with when it cannot run here.
var errSkip = errors.New("this broker was not started by the harness and cannot be restarted")

// errNoManagement is the same for a broker whose HTTP API was not named.
var errNoManagement = errors.New("the address of the HTTP API was not given")

var control = os.Getenv("CONTROL_URL")

var prefix = fmt.Sprintf("interop.go.%x", time.Now().UnixNano())

func unique(name string) string {
	return prefix + "." + name
}

// needRestart skips the check when the broker cannot be restarted; called first, so that nothing is left in the broker.
func needRestart() {
	if control == "" {
		panic(errSkip)
	}
}

// restartBroker has the harness kill the broker with SIGKILL and start it again; it returns when the broker answers.
func restartBroker() {
	response := must(http.Post(control+"/restart", "text/plain", nil))
	defer response.Body.Close()
	text := must(io.ReadAll(response.Body))
	expect("restart: "+string(text), response.StatusCode, http.StatusOK)
}

// try fails the check on an error.
func try(err error) {
	if err != nil {
		panic(err)
	}
}

// must fails the check on an error and is the value otherwise.
func must[T any](value T, err error) T {
	try(err)
	return value
}

func must2[T any](value T, ok bool, err error) T {
	try(err)
	expect("there is one", ok, true)
	return value
}

// eventually waits for what a broker shows a moment after it happened.
func eventually(what string, holds func() bool) {
	for range 200 {
		if holds() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	panic(fmt.Errorf("%s: not within 10 s", what))
}

func expect(what string, got, expected any) {
	if !reflect.DeepEqual(got, expected) {
		panic(fmt.Errorf("%s: got %#v, expected %#v", what, got, expected))
	}
}

// runChecks runs the checks in order, prints a result line for each and exits, with 1 when any failed.
func runChecks(checks []check) {
	code := 0
	for _, check := range checks {
		switch err := outcome(check.run); {
		case err == nil:
			fmt.Println("ok", check.name)
		case errors.Is(err, errSkip), errors.Is(err, errNoManagement):
			fmt.Printf("skip %s: %v\n", check.name, err)
		default:
			code = 1
			fmt.Printf("FAIL %s: %s\n", check.name, strings.Join(strings.Fields(err.Error()), " "))
		}
	}
	os.Exit(code)
}

func outcome(run func()) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			switch failure := recover().(type) {
			case nil:
				done <- nil
			case error:
				done <- failure
			default:
				done <- fmt.Errorf("%v", failure)
			}
		}()
		run()
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(checkTimeout):
		return fmt.Errorf("no end after %s", checkTimeout)
	}
}
