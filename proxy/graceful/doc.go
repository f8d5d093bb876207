// Package graceful is for programs that stop without losing a request: it stops
// servers, tunnels, balancers, caches and their stores by one call, in the order
// that each of them needs.
//
//	        Shutdown, all at once              Close, in the order of Parts     CloseIdleConnections
//	ctx ─►  servers accept nobody, drain  ─►  caches, balancers, backends, ─►  handlers, transports
//	ends    tunnels are asked to leave        stores: outside first
//	        mirrors send what they have
//
// A whole program:
//
//	app, err := proxy.NewHandler("/", "http://127.0.0.1:9000/")
//	if err != nil { log.Fatal(err) }
//	server := &http.Server{Addr: "127.0.0.1:8080", Handler: app, ReadHeaderTimeout: 10 * time.Second}
//	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
//	defer stop()
//	service := &graceful.Service{Parts: []any{server, app}}
//	if err := service.Run(ctx, server.ListenAndServe); err != nil { log.Fatal(err) }
//
// Nothing here knows a package of this library: what a part can do is asked of
// its methods, so parts of other makers are stopped as well.
package graceful
