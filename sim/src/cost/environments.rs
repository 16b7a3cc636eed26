//! The sizes of the environments that Terraform builds, as far as they have a price.
//!
//! Deliberately absent: prices. A size that is not in `terraform/env/*.tfvars` is the same in all environments, and a
//! constant here.

use serde::Deserialize;

/// CPU of a `cloudflared` task, in vCPU.
pub const TUNNEL_CPU: f64 = 0.25;
/// Its memory, in GB.
pub const TUNNEL_GB: f64 = 0.5;

/// Secrets: two for the database's roles, two that edge and core share, one for the tunnel, one for the administrator.
pub const SECRETS: f64 = 6.0;

/// Encryption keys of the environment.
pub const KEYS: f64 = 1.0;

/// Metrics that CloudWatch makes from the core's log.
pub const METRICS: f64 = 3.0;

/// Alarms, without the one for a reader that lags behind the writer.
pub const ALARMS: f64 = 7.0;

/// Interface endpoints.
pub const ENDPOINTS: f64 = 5.0;
/// Zones of each.
pub const ENDPOINT_ZONES: f64 = 2.0;

/// The least capacity that RDS Proxy is charged for, in Aurora capacity units.
pub const PROXY_ACU_MIN: f64 = 8.0;

/// The sizes of one environment, under the names of its variables. A size that its file leaves out has Terraform's default.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Environment {
    pub nat_gateways: f64,
    pub balancer: bool,
    /// CPU of a task, in units of 1/1,024 vCPU.
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
    /// Reads a file of variables. Its values are plain, so it is also valid TOML.
    ///
    /// # Errors
    ///
    /// If it is not valid TOML, or a size is missing.
    pub fn read(tfvars: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(tfvars)
    }

    /// All environments of `terraform/env`, the smallest first.
    pub fn all() -> [(&'static str, Self); 3] {
        let files = [
            ("small", include_str!("../../../terraform/env/small.tfvars")),
            ("staging", include_str!("../../../terraform/env/staging.tfvars")),
            ("production", include_str!("../../../terraform/env/production.tfvars")),
        ];
        files.map(|(name, file)| (name, Self::read(file).expect("a test reads the very text that was compiled in")))
    }

    /// The environment that the estimate for many users is based on.
    pub fn production() -> Self {
        let [.., (_, production)] = Self::all();
        production
    }
}
