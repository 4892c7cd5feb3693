"""Runs the bench."""

from benchmarks.peers.main import main

raise SystemExit(main())
