//! File systems of a campaign's own: images behind a loop device whose power can be cut, and small
//! ones in memory. All of them need root; where they cannot be had, the reason is told.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    process::Command,
};

/// What a volume is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The usual one.
    Ext4,
    /// Where its tools are installed.
    Xfs,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }
}

/// A mounted file system; unmounted when the value goes.
#[derive(Debug)]
pub struct Volume {
    /// The file behind the loop device; none in memory.
    image: Option<PathBuf>,
    /// Where it is mounted.
    pub path: PathBuf,
}

impl Volume {
    /// An image of this kind, mounted at `dir/name`.
    pub fn image(dir: &Path, name: &str, kind: Kind) -> Result<Self, String> {
        let image = dir.join(format!("{name}.image"));
        let sparse = File::create(&image).and_then(|file| file.set_len(IMAGE_BYTES));
        sparse.map_err(|error| format!("no image: {error}"))?;
        let (make, quiet) = (format!("mkfs.{}", kind.name()), "-q");
        run(Command::new(&make).arg(quiet).arg(&image))?;
        let path = dir.join(name);
        std::fs::create_dir(&path).map_err(|error| error.to_string())?;
        let volume = Self { image: Some(image), path };
        volume.mount()?;
        Ok(volume)
    }

    /// A file system in memory with these options of mount (`size=48m,nr_inodes=100`).
    pub fn memory(dir: &Path, name: &str, options: &str) -> Result<Self, String> {
        let path = dir.join(name);
        std::fs::create_dir(&path).map_err(|error| error.to_string())?;
        let mut mount = Command::new("mount");
        run(mount.args(["-t", "tmpfs", "-o", options, "relay-campaign"]).arg(&path))?;
        Ok(Self { image: None, path })
    }

    /// Changes the options of one in memory.
    pub fn change(&self, options: &str) -> Result<(), String> {
        let options = format!("remount,{options}");
        run(Command::new("mount").args(["-o", &options]).arg(&self.path))
    }

    /// Cuts the power: what was not synced never reaches the image, and every further write fails.
    pub fn cut(&self) -> io::Result<()> {
        let root = File::open(&self.path)?;
        let mut flags = NO_LOG_FLUSH;
        // SAFETY: the descriptor is open for the whole call, and the kernel reads one u32 from the
        // address of one that lives as long.
        #[allow(unsafe_code)]
        let done = unsafe { going_down(root.as_raw_fd(), &raw mut flags) };
        done.map(drop).map_err(io::Error::from)
    }

    /// The machine comes up again: the image is mounted as the power cut left it. Nothing may have
    /// a file of it open.
    pub fn again(&self) -> Result<(), String> {
        run(Command::new("umount").arg(&self.path))?;
        self.mount()
    }

    fn mount(&self) -> Result<(), String> {
        let image = self.image.as_deref().unwrap_or(Path::new(""));
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(&self.path))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).output();
    }
}

/// Runs a tool; what it said when it failed.
pub fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

// EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are one request: _IOR('X', 125, __u32).
nix::ioctl_read!(going_down, b'X', 125, u32);

/// The log is not flushed either.
const NO_LOG_FLUSH: u32 = 2;
/// The least that xfs takes; sparse.
const IMAGE_BYTES: u64 = 320 << 20;
