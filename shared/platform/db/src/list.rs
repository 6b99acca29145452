//! Building the statement of a list: fixed pieces, binds, a keyset condition. No piece is ever
//! made from input.

use crate::ToSql;
use crate::Tx;
use kernel::page::Key;
use kernel::{Page, PageRequest, Result};
use std::fmt::Write as _;
use tokio_postgres::Row;
use uuid::Uuid;

/// A `SELECT` of one tenant's rows being put together.
pub struct Sql {
    text: String,
    params: Vec<Box<dyn ToSql + Sync + Send>>,
    alias: &'static str,
}

impl Sql {
    /// Starts with `select` (up to and with its FROM) and the tenant's condition on `alias`. The
    /// policy would hide other tenants' rows too, but only a condition in the statement lets the
    /// planner use an index that starts with the tenant.
    #[must_use]
    pub fn list(tx: &Tx, select: &str, alias: &'static str) -> Self {
        let text = format!("{select} WHERE {alias}.tenant_id = $1");
        Self {
            text,
            params: vec![Box::new(tx.tenant().0)],
            alias,
        }
    }

    /// Adds a condition; `$` in it stands for `value`.
    pub fn filter(&mut self, condition: &'static str, value: impl ToSql + Sync + Send + 'static) {
        let bind = self.bind(value);
        self.text.push_str(" AND ");
        self.text.push_str(&condition.replace('$', &bind));
    }

    /// As [`Sql::filter`], when there is a value.
    pub fn filter_opt(&mut self, condition: &'static str, value: Option<impl ToSql + Sync + Send + 'static>) {
        if let Some(value) = value {
            self.filter(condition, value);
        }
    }

    /// Adds a condition without a value.
    pub fn only(&mut self, condition: &'static str) {
        self.text.push_str(" AND ");
        self.text.push_str(condition);
    }

    /// Adds the keyset condition, order and limit of a page: after the last record of the page
    /// before, in the order of an index, one more than asked to know whether there is a next.
    fn page(&mut self, request: &PageRequest) {
        let (column, alias) = (request.sort.column, self.alias);
        let (compare, direction) = if request.descending {
            ("<", "DESC")
        } else {
            (">", "ASC")
        };
        if let Some((key, id)) = &request.after {
            let key = match key {
                Key::Timestamp(at) => self.bind(*at),
                Key::Id(id) => self.bind(*id),
                Key::Text(text) => self.bind(text.clone()),
            };
            let id = self.bind(*id);
            let _ = write!(self.text, " AND ({column}, {alias}.id) {compare} ({key}, {id})");
        }
        let limit = self.bind(i64::from(request.limit) + 1);
        let _ = write!(
            self.text,
            " ORDER BY {column} {direction}, {alias}.id {direction} LIMIT {limit}"
        );
    }

    fn bind(&mut self, value: impl ToSql + Sync + Send + 'static) -> String {
        self.params.push(Box::new(value));
        format!("${}", self.params.len())
    }

    /// Runs the statement for one page.
    ///
    /// # Errors
    /// As [`Tx::query`] and `record`.
    pub async fn fetch<T>(
        mut self,
        tx: &Tx,
        request: &PageRequest,
        record: impl Fn(&Row) -> Result<T>,
        key: impl Fn(&T) -> (Key, Uuid),
    ) -> Result<Page<T>> {
        self.page(request);
        let params: Vec<&(dyn ToSql + Sync)> = self
            .params
            .iter()
            .map(|param| &**param as &(dyn ToSql + Sync))
            .collect();
        let rows = tx.query(&self.text, &params).await?;
        let records = rows.iter().map(record).collect::<Result<Vec<T>>>()?;
        Ok(request.finish(records, key))
    }
}
