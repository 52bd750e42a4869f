// Command courier serves the API and delivers what waits.
package main

import (
	"flag"
	"log"
	"net/http"

	"example.com/courier/internal/httpapi"
	"example.com/courier/internal/queue"
)

func main() {
	listen := flag.String("listen", ":8090", "address of the API")
	flag.Parse()
	q := queue.New()
	log.Fatal(http.ListenAndServe(*listen, httpapi.Handler(q)))
}
