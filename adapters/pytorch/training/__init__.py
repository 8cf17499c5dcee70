"""Training support: FSDP2 sharding and the load-balancing loss of MoE routers."""
