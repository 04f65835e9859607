//! An environment that takes no changes: files are read where they are, what is written goes nowhere, and sled is a copy.

use super::super::files::{Disk, File, Files};
use super::super::metadata::{Metadata, SledMetadata};
use super::super::place::{self, Environment, Lock};
use super::super::{Error, Options};
use base64::Engine as _;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Over the real directory, with what sled needs in a new folder within `scratch`.
pub(super) fn environment(scratch: &Path) -> Result<Environment, Error> {
    let mut random = [0; 12];
    getrandom::fill(&mut random).map_err(|error| Error::Metadata(format!("no random bytes: {error}")))?;
    let name = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random);
    let folder = scratch.join(format!("warrenctl-{name}"));
    // It will hold password hashes.
    fs::DirBuilder::new().mode(0o700).create(&folder).map_err(|error| Error::io(&folder, error))?;
    let place = ScratchPlace { real: Environment::real(), folder: Folder(folder) };
    Ok(Environment { files: Arc::new(DryFiles), place: Arc::new(place) })
}

/// Removed with all that is in it when it is dropped.
#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is in a directory for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[derive(Debug)]
struct ScratchPlace {
    real: Environment,
    folder: Folder,
}

impl place::Place for ScratchPlace {
    fn lock(&self, dir: &Path) -> Result<Lock, Error> {
        let lock = self.real.place.lock(dir)?;
        // A swap that a crash cut short is ended here as the next start will end it.
        let sources = [("sled", true), ("sled.new", dir.join("sled.old").exists()), ("sled.old", true)];
        let source = sources.into_iter().find(|(name, is_whole)| *is_whole && dir.join(name).exists());
        if let Some((name, _)) = source {
            let (from, to) = (dir.join(name), self.folder.0.join("sled"));
            copy_folder(&from, &to).map_err(|error| Error::io(to, error))?;
        }
        Ok(lock)
    }

    fn open_metadata(&self, _dir: &Path, options: &Options) -> Result<Box<dyn Metadata>, Error> {
        Ok(Box::new(SledMetadata::open(&self.folder.0.join("sled"), options)?))
    }

    fn move_metadata_aside(&self, _dir: &Path) -> Result<PathBuf, Error> {
        self.real.place.move_metadata_aside(&self.folder.0)
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if entry.metadata()?.is_dir() {
            copy_folder(&path, &copy)?;
        } else {
            fs::copy(path, copy)?;
        }
    }
    Ok(())
}

/// The real files, to be read only.
#[derive(Debug)]
struct DryFiles;

struct DryFile(Option<fs::File>);

impl File for DryFile {
    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Ok(())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let file = self.0.as_ref().ok_or(io::ErrorKind::UnexpectedEof)?;
        File::read_at(file, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _length: u64) -> io::Result<()> {
        Ok(())
    }
}

impl Files for DryFiles {
    fn create(&self, _path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(DryFile(None)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(DryFile(Some(fs::File::open(path)?))))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Disk.read(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Disk.len(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        Disk.list(dir)
    }

    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }
}
