# Several instances of the beacon on machines of your own, which share one bucket: workerd's cluster mode. docs/cluster.md says
# how to run them. Each field is described in workerd.capnp, in workerd's package.
using Workerd = import "/workerd/workerd.capnp";
# Of the npm package, found by --import-path=node_modules.
using Packed = import "/rendezvous-beacon/worker/beacon.capnp";

const config :Workerd.Config = (
  services = [
    (name = "beacon", worker = Packed.beacon),
    # --directory-path names both: the page's files, and this instance's own disk, which starts empty.
    (name = "page", disk = (writable = false)),
    (name = "state", disk = (writable = true)),
  ],
  # Only a proxy on this machine reaches it: one that ends TLS and sets the header that CLIENT_ADDRESS_HEADER names.
  sockets = [(name = "http", address = "127.0.0.1:8787", http = (), service = "beacon")],
  cluster = (
    # Its address and credentials are in the environment: AWS_ENDPOINT_URL, AWS_REGION, AWS_CREDENTIALS_FILE.
    bucket = "s3://rendezvous-beacon/cluster",
    # Where the other instances reach this one; --cluster-addr names another. What goes over it is not encrypted, and whoever
    # has the key may do everything there: a private network, and nobody else in it.
    address = "127.0.0.1:7000",
    # Beside this file, the same on all instances: openssl rand -hex 32 >cluster.key
    key = embed "cluster.key",
  ),
);
