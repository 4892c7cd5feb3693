"""What is watched, said once: alerts, recording rules and dashboards, and what is written from them."""
