package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hibiken/asynq"
)

type order struct {
	Do    string   `json:"do"`
	Kind  string   `json:"kind"`
	First int      `json:"first"`
	Count int      `json:"count"`
	Rate  float64  `json:"rate"`
	To    []string `json:"to"`
}

type answer struct {
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu"`
	Sent    []int64 `json:"sent,omitempty"`
	Late    []int64 `json:"late,omitempty"`
}

const (
	inFlight = 32  // submissions of paced that may be under way at once
	atOnce   = 100 // goroutines of bulk: there is no bulk call
)

func cpu() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

func produce() {
	client := asynq.NewClient(redisOpt())
	defer client.Close()
	out := json.NewEncoder(os.Stdout)
	fmt.Println(`{"ready": true}`)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var o order
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			log.Fatal(err)
		}
		var a answer
		used, began := cpu(), time.Now()
		err := obey(client, o, &a)
		a.Seconds, a.CPU = time.Since(began).Seconds(), cpu()-used
		if err != nil {
			a.Error = err.Error()
		}
		if err := out.Encode(a); err != nil {
			log.Fatal(err)
		}
	}
}

func submit(client *asynq.Client, o order, n int) error {
	task, err := taskOf(o.Kind, n)
	if err != nil {
		return err
	}
	_, err = client.Enqueue(task, asynq.Queue(o.To[n%len(o.To)]))
	return err
}

func obey(client *asynq.Client, o order, a *answer) error {
	switch o.Do {
	case "one":
		for n := o.First; n < o.First+o.Count; n++ {
			if err := submit(client, o, n); err != nil {
				return err
			}
		}
		return nil
	case "bulk":
		return spread(o.First, o.First+o.Count, atOnce, func(n int) error { return submit(client, o, n) })
	default:
		return paced(client, o, a)
	}
}

// spread calls do for each number, so many at once, and returns one of the errors.
func spread(first, end, workers int, do func(n int) error) error {
	numbers := make(chan int, workers)
	var failed error
	var once sync.Once
	var group sync.WaitGroup
	for w := 0; w < workers; w++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for n := range numbers {
				if err := do(n); err != nil {
					once.Do(func() { failed = err })
				}
			}
		}()
	}
	for n := first; n < end; n++ {
		numbers <- n
	}
	close(numbers)
	group.Wait()
	return failed
}

// paced submits at a rate whatever the answers take; who finds all places taken waits, and that time counts.
func paced(client *asynq.Client, o order, a *answer) error {
	a.Sent, a.Late = make([]int64, o.Count), make([]int64, o.Count)
	places := make(chan struct{}, inFlight)
	began := monotonic() + 10_000_000
	var group sync.WaitGroup
	var once sync.Once
	var failed error
	for i := 0; i < o.Count; i++ {
		due := began + int64(float64(i)*1e9/o.Rate)
		if wait := due - monotonic(); wait > 0 {
			time.Sleep(time.Duration(wait))
		}
		group.Add(1)
		go func() {
			defer group.Done()
			a.Sent[i] = monotonic()
			a.Late[i] = max(0, a.Sent[i]-due)
			places <- struct{}{}
			defer func() { <-places }()
			if err := submit(client, o, o.First+i); err != nil {
				once.Do(func() { failed = err })
			}
		}()
	}
	group.Wait()
	return failed
}
