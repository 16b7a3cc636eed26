# As production is made, and smaller; about $121 a month before the first user. What is tried here is what production does.
environment           = "staging"
nat_gateways          = 1
balancer              = true
core_cpu              = 256
core_memory_mb        = 512
core_tasks_min        = 1
core_tasks_max        = 3
tunnel_tasks          = 1
database_instances    = 1
database_acu_min      = 0.5
database_acu_max      = 2
log_retention_days    = 14
backup_retention_days = 7
deletion_protection   = false
