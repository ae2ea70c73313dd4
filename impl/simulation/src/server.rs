//! The development server as a process: started, killed at any moment, and started again on what it left.
use crate::{Outcome, START};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// How long a start may take, recovery of the database included.
const START_MAX: Duration = Duration::from_secs(120);

/// See the module.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    data_dir: PathBuf,
    port: u16,
    child: Option<Child>,
    /// `dev.json`
    pub said: Value,
}

impl Server {
    /// Starts one on an empty folder, or on a copy of `template`, on any port that is free.
    pub async fn start(program: PathBuf, data_dir: PathBuf, template: Option<&Path>) -> Outcome<Server> {
        let mut server = Server { program, data_dir, port: 0, child: None, said: Value::Null };
        if let Some(template) = template {
            server.copy(template).await?;
        }
        server.spawn(template.is_none()).await?;
        let address = server.said["base_url"].as_str().unwrap_or_default();
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        server.port = port.ok_or("the server says no address")?;
        Ok(server)
    }

    /// Copies a folder, with the owners of its files: the database may belong to another user.
    async fn copy(&self, template: &Path) -> Outcome {
        let dir = &self.data_dir;
        std::fs::create_dir_all(dir).map_err(|e| format!("cannot create {}: {e}", dir.display()))?;
        let copied = Command::new("cp").arg("-a").arg(template.join(".")).arg(dir).status().await;
        let copied = copied.map_err(|e| format!("cannot copy {}: {e}", template.display()))?;
        if copied.success() { Ok(()) } else { Err(format!("cannot copy {}: {copied}", template.display())) }
    }

    /// Kills it as a failing machine would.
    pub async fn kill(&mut self) -> Outcome {
        if let Some(mut child) = self.child.take() {
            child.kill().await.map_err(|e| format!("cannot kill the server: {e}"))?;
        }
        Ok(())
    }

    /// Starts it again where it was.
    pub async fn again(&mut self) -> Outcome {
        self.spawn(false).await
    }

    /// Lets it end by itself.
    pub async fn stop(&mut self) -> Outcome {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Some(pid) = child.id() {
            let told = Command::new("kill").arg("-TERM").arg(pid.to_string()).status().await;
            told.map_err(|e| format!("cannot stop the server: {e}"))?;
        }
        let ended = tokio::time::timeout(Duration::from_secs(30), child.wait()).await;
        ended.map_err(|_| "the server does not stop")?.map_err(|e| e.to_string()).map(drop)
    }

    /// What a command of the same program prints.
    pub async fn command(&self, arguments: &[&str]) -> Outcome<String> {
        let output = Command::new(&self.program)
            .args(arguments)
            .env("DATABASE_URL", self.text("database_url"))
            .env("DATABASE_OWNER_URL", self.text("owner_database_url"))
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(|e| format!("cannot start {}: {e}", self.program.display()))?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() {
            return Ok(said);
        }
        Err(format!("{}: {said} {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
    }

    /// Where `dev.json` is.
    pub fn file(&self) -> String {
        self.data_dir.join("dev.json").to_string_lossy().into_owned()
    }

    /// A text of `dev.json`.
    pub fn text(&self, name: &str) -> &str {
        self.said[name].as_str().unwrap_or_default()
    }

    /// What the server has to say goes beside its data, into a file that a start goes on with.
    fn log(&self) -> Outcome<std::fs::File> {
        let error = |e: std::io::Error| format!("cannot use {}: {e}", self.data_dir.display());
        if !self.data_dir.exists() {
            std::fs::create_dir_all(&self.data_dir).map_err(error)?;
            std::fs::set_permissions(&self.data_dir, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .map_err(error)?;
        }
        let path = self.data_dir.join("server.log");
        std::fs::File::options().create(true).append(true).open(path).map_err(error)
    }

    /// The last line of its log.
    pub fn last_words(&self) -> String {
        let log = std::fs::read(self.data_dir.join("server.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).lines().next_back().unwrap_or_default().to_owned()
    }

    async fn spawn(&mut self, fresh: bool) -> Outcome {
        let file = self.data_dir.join("dev.json");
        let _ = std::fs::remove_file(&file);
        let mut command = Command::new(&self.program);
        command
            .args(["dev", "--clock", "simulated", "--clock-from", START])
            .args(["--port", &self.port.to_string(), "--data-dir"])
            .arg(&self.data_dir)
            // Documents are judged as XML here; how they look is not the matter.
            .args(["--set", "render.program=/dev/null/none", "--set", "log.level=error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(self.log()?)
            .kill_on_drop(true);
        if fresh {
            command.arg("--fresh");
        }
        let mut child = command.spawn().map_err(|e| format!("cannot start the server: {e}"))?;
        let since = Instant::now();
        loop {
            if let Ok(text) = std::fs::read_to_string(&file) {
                self.said = serde_json::from_str(&text).map_err(|e| format!("dev.json: {e}"))?;
                self.child = Some(child);
                return Ok(());
            }
            if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
                return Err(format!("the server ended before it was ready: {status}"));
            }
            if START_MAX < since.elapsed() {
                return Err("the server does not become ready".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
