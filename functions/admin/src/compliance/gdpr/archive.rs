//! A zip of JSON files that is written to the bucket as it is made: what is compressed is sent, so
//! its memory does not grow with the person's history.

use audit::gdpr::Record;
use cloud::Upload;
use kernel::{Error, Result};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use zip::write::{SimpleFileOptions, StreamWriter, ZipWriter};

/// Each file is a JSON array.
pub struct Archive {
    /// On the heap, so that futures which hold an archive stay small.
    zip: Box<ZipWriter<StreamWriter<Sink>>>,
    sink: Sink,
    upload: Upload,
    is_first: bool,
}

/// Where the zip writes, and from where it goes on to the bucket.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Archive {
    pub fn begin(upload: Upload) -> Self {
        let sink = Sink::default();
        Self {
            zip: Box::new(ZipWriter::new_stream(sink.clone())),
            sink,
            upload,
            is_first: true,
        }
    }

    /// Begins a file.
    pub async fn file(&mut self, name: &str) -> Result<()> {
        self.zip
            .start_file(name, SimpleFileOptions::default())
            .map_err(Error::internal)?;
        self.is_first = true;
        self.write(b"[").await
    }

    /// Adds records to the file.
    pub async fn records(&mut self, records: &[Record]) -> Result<()> {
        let mut text = Vec::new();
        for record in records {
            text.extend_from_slice(if self.is_first { b"\n" } else { b",\n" });
            self.is_first = false;
            serde_json::to_writer(&mut text, &record.data).map_err(Error::internal)?;
        }
        self.write(&text).await
    }

    pub async fn end_of_file(&mut self) -> Result<()> {
        self.write(b"\n]\n").await
    }

    async fn write(&mut self, text: &[u8]) -> Result<()> {
        self.zip.write_all(text).map_err(Error::internal)?;
        self.upload.write(&self.sink.take()).await
    }

    /// Makes the object.
    pub async fn finish(mut self) -> Result<()> {
        self.zip.finish().map_err(Error::internal)?;
        self.upload.write(&self.sink.take()).await?;
        self.upload.finish().await
    }

    /// Leaves nothing behind.
    pub async fn abort(self) {
        if let Err(error) = self.upload.abort().await {
            tracing::warn!(%error, "an unfinished export is left to the bucket's lifecycle");
        }
    }
}
