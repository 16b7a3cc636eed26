//! The environments that Terraform builds, as far as their sizes have a price.
//!
//! Deliberately absent: prices. What is not in `terraform/env/*.tfvars` is the same in all of them, and a constant here.

use serde::Deserialize;

/// CPU of a `cloudflared` task, in vCPU, and its memory, in GB.
pub const TUNNEL_CPU: f64 = 0.25;
pub const TUNNEL_GB: f64 = 0.5;

/// Secrets: two of the database's roles, two that edge and core share, the tunnel's, the administrator's.
pub const SECRETS: f64 = 6.0;

/// Keys of the environment's own.
pub const KEYS: f64 = 1.0;

/// Figures that are taken out of the core's log.
pub const METRICS: f64 = 3.0;

/// Alarms; one more with a reader that may lag.
pub const ALARMS: f64 = 7.0;

/// Interface endpoints, each in two zones.
pub const ENDPOINTS: f64 = 5.0;
pub const ENDPOINT_ZONES: f64 = 2.0;

/// Capacity that RDS Proxy is charged for at least, in Aurora capacity units.
pub const PROXY_ACU_MIN: f64 = 8.0;

/// Of one environment, under the names of its variables; those that its file does not set are as Terraform's defaults.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Environment {
    pub nat_gateways: f64,
    pub balancer: bool,
    /// Units of which 1,024 are one vCPU.
    pub core_cpu: f64,
    pub core_memory_mb: f64,
    pub core_tasks_min: f64,
    pub tunnel_tasks: f64,
    pub database_instances: f64,
    pub database_acu_min: f64,
    #[serde(default)]
    pub database_proxy: bool,
    #[serde(default)]
    pub interface_endpoints: bool,
}

impl Environment {
    /// Reads a file of variables whose values are plain, which makes it TOML too.
    ///
    /// # Errors
    ///
    /// When it is not, or a size is missing.
    pub fn read(tfvars: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(tfvars)
    }

    /// What `terraform/env` holds, the smallest first.
    pub fn all() -> [(&'static str, Self); 3] {
        let files = [
            ("small", include_str!("../../../terraform/env/small.tfvars")),
            ("staging", include_str!("../../../terraform/env/staging.tfvars")),
            ("production", include_str!("../../../terraform/env/production.tfvars")),
        ];
        files.map(|(name, file)| (name, Self::read(file).expect("a test reads the very text that was compiled in")))
    }

    /// The one that the estimate of many users is of.
    pub fn production() -> Self {
        let [.., (_, production)] = Self::all();
        production
    }
}
