//! The renderer: a program of its own that makes the PDF of one document and ends.
//!
//! A page comes from a template that a user wrote, so whatever it does to the renderer must stay there: each document
//! has its own process with limits on time, memory and output, and no more processes run at once than there are
//! cores. A process that is given up on is killed.
use scaicontrol_templates::job::{Exit, Job, Limits, MAX_JOB_BYTES, MAX_PDF_BYTES};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

const MESSAGE_BYTES_MAX: u64 = 8 * 1024;
const MESSAGE_CHARS_MAX: usize = 300;

/// Why there is no PDF.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RenderFailure {
    /// The page cannot be made into a PDF; the same page fails again.
    #[error("the document cannot be rendered: {0}")]
    Refused(String),
    /// The renderer took too long, at this attempt.
    #[error("the renderer took longer than {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The renderer died, or wrote no PDF.
    #[error("the renderer failed: {0}")]
    Died(String),
    /// The renderer cannot be started.
    #[error("the renderer is not available: {0}")]
    Unavailable(String),
}

impl RenderFailure {
    /// Whether it may help to try again later.
    pub fn is_transient(&self) -> bool {
        !matches!(self, RenderFailure::Refused(_))
    }
}

/// Starts renderers.
#[derive(Debug)]
pub struct Renderer {
    program: PathBuf,
    arguments: Vec<String>,
    timeout: Duration,
    limits: Limits,
    slots: Semaphore,
}

impl Renderer {
    /// The renderer at that path, which may take that long for a document (waiting for a core not counted), in as
    /// many processes at once as there are cores.
    pub fn new(program: impl Into<PathBuf>, timeout: Duration, limits: Limits) -> Renderer {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Renderer {
            program: program.into(),
            arguments: Vec::new(),
            timeout,
            limits,
            slots: Semaphore::new(cores),
        }
    }

    /// The PDF of a job, whose limits are replaced by those of this renderer. Dropping the future kills the process.
    pub async fn render(&self, job: &Job) -> Result<Vec<u8>, RenderFailure> {
        let job = Job { limits: self.limits, ..job.clone() };
        let input = serde_json::to_vec(&job).map_err(|e| RenderFailure::Refused(e.to_string()))?;
        if input.len() > MAX_JOB_BYTES {
            return Err(RenderFailure::Refused("the document and its images are too large".into()));
        }
        let _slot = self
            .slots
            .acquire()
            .await
            .map_err(|_| RenderFailure::Unavailable("it is shutting down".into()))?;
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| RenderFailure::Unavailable(format!("{}: {e}", self.program.display())))?;
        let done = tokio::time::timeout(self.timeout, converse(&mut child, &input)).await;
        // A process that still runs is of no more use; one that has ended is only collected.
        let _ = child.kill().await;
        done.unwrap_or(Err(RenderFailure::TimedOut(self.timeout)))
    }
}

/// Gives the job, takes the PDF, and judges how the process ended.
async fn converse(child: &mut Child, input: &[u8]) -> Result<Vec<u8>, RenderFailure> {
    let (Some(mut stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(RenderFailure::Unavailable("its pipes are missing".into()));
    };
    let give = async {
        // A process that ends early does not read on; how it ended says more than that.
        let _ = stdin.write_all(input).await;
        drop(stdin);
    };
    let limit = u64::try_from(MAX_PDF_BYTES).unwrap_or(u64::MAX);
    let ((), pdf, message) = tokio::join!(give, read_pdf(stdout, limit), read_message(stderr));
    let pdf = pdf?;
    let status = child.wait().await.map_err(|e| RenderFailure::Died(e.to_string()))?;
    match status.code() {
        Some(0) if pdf.starts_with(b"%PDF-") => Ok(pdf),
        Some(0) => Err(RenderFailure::Died("it wrote no PDF".into())),
        Some(code) if code == i32::from(Exit::Refused.code()) => Err(RenderFailure::Refused(message)),
        _ if message.is_empty() => Err(RenderFailure::Died(status.to_string())),
        _ => Err(RenderFailure::Died(format!("{status}: {message}"))),
    }
}

/// Everything up to a limit. Beyond it the pipe is closed, which ends the writer.
async fn read_pdf(stdout: impl AsyncRead + Unpin, limit: u64) -> Result<Vec<u8>, RenderFailure> {
    let mut pdf = Vec::new();
    let died = |e: std::io::Error| RenderFailure::Died(e.to_string());
    stdout.take(limit.saturating_add(1)).read_to_end(&mut pdf).await.map_err(died)?;
    if u64::try_from(pdf.len()).is_ok_and(|length| length > limit) {
        return Err(RenderFailure::Died("its output is too large".into()));
    }
    Ok(pdf)
}

/// The last line of what the process says, cut. All of it is read, so that a talkative process does not wait for us.
async fn read_message(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let mut block = [0; 4096];
    while let Ok(length @ 1..) = stderr.read(&mut block).await {
        kept.extend_from_slice(&block[..length]);
        let keep = usize::try_from(MESSAGE_BYTES_MAX).unwrap_or(usize::MAX);
        kept.drain(..kept.len().saturating_sub(keep));
    }
    let text = String::from_utf8_lossy(&kept);
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.trim().chars().filter(|char| !char.is_control()).take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Instant;

    /// A renderer that is a shell script.
    fn script(text: &str, timeout: Duration) -> Renderer {
        Renderer {
            arguments: vec!["-c".into(), text.into()],
            ..Renderer::new("/bin/sh", timeout, Limits::default())
        }
    }

    const LONG: Duration = Duration::from_secs(30);
    const SHORT: Duration = Duration::from_millis(200);

    fn job(bytes: usize) -> Job {
        Job {
            html: "x".repeat(bytes),
            css: String::new(),
            images: Default::default(),
            title: String::new(),
            author: String::new(),
            language: "en".into(),
            created: String::new(),
            limits: Limits { cpu_seconds: 1, memory_bytes: 1 },
        }
    }

    async fn outcome(text: &str, timeout: Duration) -> Result<Vec<u8>, RenderFailure> {
        script(text, timeout).render(&job(500_000)).await
    }

    #[tokio::test]
    async fn what_it_writes_is_the_pdf() {
        let text = "cat > /dev/null; printf '%%PDF-1.7 ü'; echo chatter >&2";
        assert_eq!(outcome(text, LONG).await, Ok("%PDF-1.7 ü".into()));
        // The limits of the renderer go with the job.
        let limits = "printf %%PDF-; cat | grep -o '\"limits\":.*'";
        let pdf = outcome(limits, LONG).await.map(|pdf| String::from_utf8_lossy(&pdf).into_owned());
        assert!(pdf.is_ok_and(|pdf| pdf.contains("\"cpu_seconds\":20")));
    }

    #[tokio::test]
    async fn how_it_ends_is_told() {
        let refused = outcome("echo first >&2; echo 'too  odd' >&2; exit 3", LONG).await;
        assert_eq!(refused, Err(RenderFailure::Refused("too  odd".into())));
        assert!(!refused.is_err_and(|e| e.is_transient()));
        let died = |message: &str| Err(RenderFailure::Died(message.into()));
        assert_eq!(outcome("kill -9 $$", LONG).await, died("signal: 9 (SIGKILL)"));
        assert_eq!(outcome("echo oops >&2; exit 101", LONG).await, died("exit status: 101: oops"));
        assert_eq!(outcome("cat > /dev/null; echo hello", LONG).await, died("it wrote no PDF"));
        assert_eq!(outcome("exit 0", LONG).await, died("it wrote no PDF"));
    }

    #[tokio::test]
    async fn one_that_hangs_is_killed() {
        let start = Instant::now();
        // It reads nothing, and ignores what can be ignored.
        let text = "trap '' TERM INT PIPE; while :; do :; done";
        assert_eq!(outcome(text, SHORT).await, Err(RenderFailure::TimedOut(SHORT)));
        assert!(start.elapsed() < LONG);
    }

    #[tokio::test]
    async fn one_that_floods_is_cut_off() {
        assert_eq!(
            outcome("exec yes", LONG).await,
            Err(RenderFailure::Died("its output is too large".into()))
        );
        let text = "cat > /dev/null; head -c 9000000 /dev/zero | tr '\\0' x >&2; printf %%PDF-; exit 0";
        assert_eq!(outcome(text, LONG).await, Ok("%PDF-".into()));
    }

    #[tokio::test]
    async fn one_that_is_not_there_is_told() {
        let renderer = Renderer::new("/nonexistent/renderer", LONG, Limits::default());
        let failure = renderer.render(&job(1)).await;
        assert!(matches!(failure, Err(RenderFailure::Unavailable(_))), "{failure:?}");
        let large = script("exit 0", LONG).render(&job(MAX_JOB_BYTES)).await;
        assert!(matches!(large, Err(RenderFailure::Refused(_))), "{large:?}");
    }

    #[tokio::test]
    async fn no_more_run_at_once_than_allowed_and_a_dropped_one_gives_its_place_back() {
        let renderer = Arc::new(Renderer { slots: Semaphore::new(1), ..script("exec sleep 1000", LONG) });
        let first = tokio::spawn({
            let renderer = Arc::clone(&renderer);
            async move { renderer.render(&job(1)).await }
        });
        while renderer.slots.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let second = tokio::time::timeout(SHORT, renderer.render(&job(1))).await;
        assert!(second.is_err(), "the second one waits");
        first.abort();
        assert!(first.await.is_err());
        assert_eq!(renderer.slots.available_permits(), 1);
    }
}
