"""The dashboard: pages for people, served by the gateway and driven by nothing but the HTTP API."""
