//! A server as a container.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, NetworkingConfig,
};
use bollard::query_parameters::{CreateContainerOptions, InspectContainerOptions, StartContainerOptions};

use super::engine::{Engine, LABEL};
use super::process::signal;
use crate::wait::until;

/// The server's folder, as the server sees it.
pub(super) const FOLDER: &str = "/data";

const ENDED_WITHIN: Duration = Duration::from_secs(20);

/// From whom a server is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// From all other servers. Clients on this machine still reach it.
    Peers,
    /// From all other servers but one. Clients on this machine still reach it.
    PeersBut(IpAddr),
    /// From everybody.
    All,
}

/// A container that can be started again, with the same data at the same address. The engine removes it.
#[derive(Debug)]
pub(super) struct Container {
    docker: Docker,
    id: String,
    gateway: IpAddr,
}

impl Container {
    /// Creates it, not started yet.
    pub(super) async fn create(
        engine: &Engine,
        address: IpAddr,
        dir: &Path,
        args: Vec<String>,
    ) -> Result<Self> {
        let at = EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: Some(address.to_string()),
                ..EndpointIpamConfig::default()
            }),
            ..EndpointSettings::default()
        };
        let body = ContainerCreateBody {
            image: Some(engine.image().to_owned()),
            cmd: Some(args),
            labels: Some(HashMap::from([(LABEL.to_owned(), String::new())])),
            host_config: Some(HostConfig {
                binds: Some(vec![format!("{}:{FOLDER}", dir.display())]),
                network_mode: Some(engine.network().to_owned()),
                ..HostConfig::default()
            }),
            networking_config: Some(NetworkingConfig {
                endpoints_config: Some(HashMap::from([(engine.network().to_owned(), at)])),
            }),
            ..ContainerCreateBody::default()
        };
        let docker = engine.docker().clone();
        let created = docker.create_container(None::<CreateContainerOptions>, body).await?;
        Ok(Self { docker, id: created.id, gateway: engine.gateway() })
    }

    pub(super) async fn start(&self) -> Result<()> {
        if self.pid().await?.is_some() {
            bail!("it runs already");
        }
        Ok(self.docker.start_container(&self.id, None::<StartContainerOptions>).await?)
    }

    /// How it ended; `None` while it runs.
    pub(super) async fn ended(&self) -> Result<Option<String>> {
        let about = self.docker.inspect_container(&self.id, None::<InspectContainerOptions>).await?;
        let state = about.state.context("a container has a state")?;
        Ok((state.running != Some(true))
            .then(|| format!("exit status: {}", state.exit_code.unwrap_or_default())))
    }

    pub(super) async fn kill(&self) -> Result<()> {
        self.signal("KILL").await?;
        until("the end of a killed container", ENDED_WITHIN, || async {
            self.ended().await?.context("it still runs")
        })
        .await?;
        Ok(())
    }

    pub(super) async fn signal(&self, name: &str) -> Result<()> {
        signal(self.running_pid().await?, name)
    }

    pub(super) async fn cut_off(&self, cut: Cut) -> Result<()> {
        self.reconnect().await?;
        let client = self.gateway.to_string();
        let (from, to): (&[&str], &[&str]) = match cut {
            Cut::All => (&[], &[]),
            Cut::Peers | Cut::PeersBut(_) => (&["!", "-s", &client], &["!", "-d", &client]),
        };
        if let Cut::PeersBut(spared) = cut {
            let spared = spared.to_string();
            self.iptables(&["-A", "INPUT", "-s", &spared, "-j", "ACCEPT"]).await?;
            self.iptables(&["-A", "OUTPUT", "-d", &spared, "-j", "ACCEPT"]).await?;
        }
        self.iptables(&[&["-A", "INPUT", "!", "-i", "lo"], from, &["-j", "DROP"]].concat()).await?;
        self.iptables(&[&["-A", "OUTPUT", "!", "-o", "lo"], to, &["-j", "DROP"]].concat()).await
    }

    pub(super) async fn reconnect(&self) -> Result<()> {
        self.iptables(&["-F"]).await
    }

    /// Runs iptables in the container's own network.
    async fn iptables(&self, rule: &[&str]) -> Result<()> {
        let pid = self.running_pid().await?.to_string();
        let output =
            Command::new("nsenter").args(["-t", &pid, "-n", "iptables", "-w"]).args(rule).output()?;
        if !output.status.success() {
            bail!("iptables {}: {}", rule.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    async fn running_pid(&self) -> Result<u32> {
        self.pid().await?.context("it does not run")
    }

    /// As this machine counts processes.
    async fn pid(&self) -> Result<Option<u32>> {
        let about = self.docker.inspect_container(&self.id, None::<InspectContainerOptions>).await?;
        let pid = about.state.and_then(|state| state.pid).filter(|pid| *pid > 0);
        pid.map(u32::try_from).transpose().context("a process id is a small number")
    }
}
