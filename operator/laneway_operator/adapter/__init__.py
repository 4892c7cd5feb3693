"""`laneway-operator adapter`: serves what pools need as external metrics, to HorizontalPodAutoscalers."""
