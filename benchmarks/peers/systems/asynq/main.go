// Asynq: `peer worker` runs the handlers, `peer produce` obeys the bench's orders (see shared/producer.py).
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hibiken/asynq"
)

type arguments struct {
	N   int    `json:"n"`
	Pad string `json:"pad"`
}

func redisOpt() asynq.RedisConnOpt {
	opt, err := asynq.ParseRedisURI(os.Getenv("PEER_REDIS"))
	if err != nil {
		log.Fatal(err)
	}
	return opt
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "produce" {
		produce()
		return
	}
	work()
}

// work runs a server until SIGTERM. Queues and concurrency are those of the plan.
func work() {
	slots, err := strconv.Atoi(os.Getenv("PEER_SLOTS"))
	if err != nil {
		log.Fatal(err)
	}
	config := asynq.Config{
		Concurrency: slots,
		LogLevel:    asynq.WarnLevel,
		Queues:      map[string]int{"normal": 1},
		// What an idle server sleeps between two looks; 1 s unless told.
		TaskCheckInterval: 10 * time.Millisecond,
	}
	switch os.Getenv("PEER_PLAN") {
	case "urgent":
		config.Queues = map[string]int{"urgent": 10, "normal": 1}
		config.StrictPriority = true
	case "flood":
		config.Queues = map[string]int{"normal": 1}
		for i := 0; i < 10; i++ {
			config.Queues["tenant-"+strconv.Itoa(i)] = 1
		}
	}
	marks := openMarks()
	mux := asynq.NewServeMux()
	handle := func(kind string, then func(ctx context.Context, n int)) {
		mux.HandleFunc(kind, func(ctx context.Context, task *asynq.Task) error {
			var a arguments
			if err := json.Unmarshal(task.Payload(), &a); err != nil {
				return err
			}
			marks.begin(a.N)
			then(ctx, a.N)
			return nil
		})
	}
	handle("noop", func(context.Context, int) {})
	handle("nap", func(context.Context, int) { time.Sleep(5 * time.Millisecond) })
	handle("hold", func(ctx context.Context, n int) {
		for !marks.released() {
			time.Sleep(100 * time.Millisecond)
		}
		marks.end(n)
	})
	server := asynq.NewServer(redisOpt(), config)
	if err := server.Start(mux); err != nil {
		log.Fatal(err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
	server.Shutdown()
}

func taskOf(kind string, n int) (*asynq.Task, error) {
	payload, err := json.Marshal(arguments{N: n, Pad: strings.Repeat("x", 92)})
	return asynq.NewTask(kind, payload), err
}
