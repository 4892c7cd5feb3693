"""One real Kubernetes node on this machine, in network and mount namespaces of its own.

The namespaces live as long as the node's processes: when those end, all mounts, links and rules are gone too.
"""
