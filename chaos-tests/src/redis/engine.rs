//! The container engine: a network of its own for a ground, and an image of a server that is on this machine.
//!
//! Nothing is pulled. The image holds the server's program and its libraries, copied from this machine, and
//! is kept for the next time. One ground at a time has containers, in all processes of this user: so whatever
//! carries our label when a ground gets its turn was left by the dead, and is swept.

use std::collections::HashMap;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, anyhow};
use bollard::Docker;
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder,
};
use testcontainers::GenericBuildableImage;
use testcontainers::core::BuildImageOptions;
use testcontainers::runners::AsyncBuilder as _;

use super::server::Server;

/// What our containers and networks are labelled with.
pub(super) const LABEL: &str = "abide.test-ground";
const NETWORK: &str = "abide-test-ground";
/// Tried one after the other: a subnet may belong to somebody else.
const SUBNETS: [[u8; 3]; 4] = [[10, 213, 77], [10, 214, 77], [172, 29, 77], [192, 168, 213]];
/// Below are the host and whatever the engine takes.
const FIRST_HOST: usize = 10;

/// The engine, for as long as a ground has it. What the ground made there goes when this is dropped.
#[derive(Debug)]
pub(super) struct Engine {
    docker: Docker,
    subnet: [u8; 3],
    image: String,
    /// Held, never read: our turn.
    _turn: File,
}

impl Engine {
    /// Why containers cannot be had on this machine, if they cannot.
    pub(super) async fn missing() -> Option<String> {
        for tool in ["nsenter", "iptables", "ldd"] {
            if Command::new(tool).arg("--version").output().is_err() {
                return Some(format!("there is no `{tool}`"));
            }
        }
        let list = Command::new("iptables").args(["-w", "-n", "-L", "INPUT"]).output();
        if !list.is_ok_and(|output| output.status.success()) {
            return Some("this user may not run iptables".to_owned());
        }
        connect().await.err().map(|error| format!("no engine answers: {error:#}"))
    }

    /// Waits for our turn, sweeps, and makes what containers of a server need.
    pub(super) async fn take(lock: &Path, server: Server) -> Result<Self> {
        let lock = lock.to_owned();
        let turn = tokio::task::spawn_blocking(move || {
            let file = File::options().create(true).append(true).open(lock)?;
            file.lock()?;
            std::io::Result::Ok(file)
        });
        let turn = turn.await?.context("cannot wait for the turn to use containers")?;
        let docker = connect().await?;
        sweep(&docker).await?;
        let image = image(server).await?;
        let mut refused = anyhow!("there is no subnet to try");
        for subnet in SUBNETS {
            match docker.create_network(network(subnet)).await {
                Ok(_) => return Ok(Self { docker, subnet, image, _turn: turn }),
                Err(error) => refused = error.into(),
            }
        }
        Err(refused.context("no network for containers could be created"))
    }

    pub(super) fn docker(&self) -> &Docker {
        &self.docker
    }

    pub(super) fn network(&self) -> &'static str {
        NETWORK
    }

    /// The fixed address of the n-th container.
    pub(super) fn address(&self, n: usize) -> Result<IpAddr> {
        let [a, b, c] = self.subnet;
        Ok(Ipv4Addr::new(a, b, c, u8::try_from(FIRST_HOST + n)?).into())
    }

    /// This machine, as the containers see it.
    pub(super) fn gateway(&self) -> IpAddr {
        gateway(self.subnet).into()
    }

    /// The server's image.
    pub(super) fn image(&self) -> &str {
        &self.image
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // A thread of its own, because the runtime here may be the one that is ending.
        let swept = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { sweep(&connect().await?).await })
        });
        if let Ok(Err(error)) = swept.join() {
            println!("containers are left for the next ground to sweep: {error:#}");
        }
    }
}

async fn connect() -> Result<Docker> {
    Ok(Docker::connect_with_local_defaults()?.negotiate_version().await?)
}

async fn sweep(docker: &Docker) -> Result<()> {
    let ours = HashMap::from([("label", vec![LABEL])]);
    let list = ListContainersOptionsBuilder::new().all(true).filters(&ours).build();
    for container in docker.list_containers(Some(list)).await? {
        let id = container.id.context("a container has an id")?;
        let force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        docker.remove_container(&id, Some(force)).await?;
    }
    let list = ListNetworksOptionsBuilder::new().filters(&ours).build();
    for network in docker.list_networks(Some(list)).await? {
        docker.remove_network(&network.id.context("a network has an id")?).await?;
    }
    Ok(())
}

fn gateway([a, b, c]: [u8; 3]) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, 1)
}

fn network(subnet: [u8; 3]) -> NetworkCreateRequest {
    let [a, b, c] = subnet;
    let range = IpamConfig {
        subnet: Some(format!("{a}.{b}.{c}.0/24")),
        gateway: Some(gateway(subnet).to_string()),
        ..IpamConfig::default()
    };
    NetworkCreateRequest {
        name: NETWORK.to_owned(),
        driver: Some("bridge".to_owned()),
        internal: Some(true),
        ipam: Some(Ipam { config: Some(vec![range]), ..Ipam::default() }),
        labels: Some(HashMap::from([(LABEL.to_owned(), String::new())])),
        ..NetworkCreateRequest::default()
    }
}

/// An image of a server, built if there is none of this very program.
async fn image(server: Server) -> Result<String> {
    let program = server.program()?.canonicalize()?;
    let about = program.metadata()?;
    // Another program is another image.
    let tag = format!("{}-{}", about.len(), about.modified()?.duration_since(UNIX_EPOCH)?.as_secs());
    let name = format!("abide-test-ground-{}", server.name());
    let dockerfile = "FROM scratch\nCOPY root/ /\nWORKDIR /data\nENTRYPOINT [\"/server\"]\n";
    let mut image = GenericBuildableImage::new(&name, &tag)
        .with_dockerfile_string(dockerfile)
        .with_file(&program, "root/server");
    for library in libraries(&program)? {
        image = image.with_file(library.canonicalize()?, format!("root{}", library.display()));
    }
    let _built = image.build_image_with(BuildImageOptions::new().with_skip_if_exists(true)).await?;
    Ok(format!("{name}:{tag}"))
}

/// The libraries that a program loads, by the paths under which it looks for them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("there is no `ldd`")?;
    let text = String::from_utf8(output.stdout)?;
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(words.map(PathBuf::from).collect())
}
