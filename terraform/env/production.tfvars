# Everything twice, in two zones; about $230 a month before the first user.
environment           = "production"
nat_gateways          = 2
balancer              = true
core_cpu              = 512
core_memory_mb        = 1024
core_tasks_min        = 2
core_tasks_max        = 20
tunnel_tasks          = 2
database_instances    = 2
database_acu_min      = 0.5
database_acu_max      = 8
log_retention_days    = 30
backup_retention_days = 14
