//! Who is asking, for which tenant, and with what right. A [`Caller`] is the only key that opens a
//! tenant transaction, so it is made in two places only: after a token was verified (`web`) and
//! after a queue message of our own was read (`worker`).

use crate::{Feature, Permission};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use uuid::Uuid;

/// A company that uses the system (S1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(pub Uuid);

impl std::fmt::Display for TenantId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A person with a session.
    User { user_id: Uuid, session_id: Uuid },
    /// A program with a key of the tenant; the database compares the hash of its secret.
    ApiKey { key_id: Uuid, secret_hash: [u8; 32] },
    /// One of our own functions, named for the audit log.
    System { name: &'static str },
    /// A person who asked for what is now done for them, once others approved it.
    Requester { user_id: Uuid },
}

/// Where a request came from; written to the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub request_id: String,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    /// The X-Ray header that the request came with, passed on with everything it causes.
    pub trace: Option<String>,
}

/// The `Idempotency-Key` of a POST and what it was sent with.
#[derive(Clone, Debug)]
pub struct Idempotency {
    pub key: String,
    /// SHA-256 over method, path and body. The body may hold a password, so it is stored keyed only.
    pub fingerprint: [u8; 32],
    replayed: Arc<AtomicBool>,
}

impl Idempotency {
    #[must_use]
    pub fn new(key: String, fingerprint: [u8; 32]) -> Self {
        Self {
            key,
            fingerprint,
            replayed: Arc::default(),
        }
    }

    /// Notes that the answer is the one stored for an earlier request.
    pub fn mark_replayed(&self) {
        self.replayed.store(true, Ordering::Relaxed);
    }

    #[must_use]
    pub fn was_replayed(&self) -> bool {
        self.replayed.load(Ordering::Relaxed)
    }
}

/// A verified caller. Database functions take it by reference and check the session and the
/// permission in the same trip as the first statement.
#[derive(Clone, Debug)]
pub struct Caller {
    tenant: TenantId,
    actor: Actor,
    permission: Option<Permission>,
    feature: Option<Feature>,
    origin: Origin,
    idempotency: Option<Idempotency>,
}

impl Caller {
    /// A person whose token was verified. `permission` is what the route declared; the database
    /// refuses the transaction when the person does not have it.
    ///
    /// Only `web` may call this (kept by `clippy.toml`).
    #[must_use]
    pub fn verified_user(
        tenant: TenantId,
        user_id: Uuid,
        session_id: Uuid,
        permission: Option<Permission>,
        origin: Origin,
    ) -> Self {
        Self {
            tenant,
            actor: Actor::User { user_id, session_id },
            permission,
            feature: None,
            origin,
            idempotency: None,
        }
    }

    /// A program whose token named this key. Nothing is proved yet: the database compares the secret
    /// with the first statement, as it does with a session.
    ///
    /// Only `web` may call this (kept by `clippy.toml`).
    #[must_use]
    pub fn presented_api_key(
        tenant: TenantId,
        key_id: Uuid,
        secret_hash: [u8; 32],
        permission: Permission,
        origin: Origin,
    ) -> Self {
        Self {
            tenant,
            actor: Actor::ApiKey { key_id, secret_hash },
            permission: Some(permission),
            feature: None,
            origin,
            idempotency: None,
        }
    }

    /// One of our own functions working for a tenant that a verified message or row named.
    ///
    /// Only queue consumers and the steps before a login exists may call this (kept by `clippy.toml`).
    #[must_use]
    pub fn verified_system(tenant: TenantId, name: &'static str, origin: Origin) -> Self {
        Self {
            tenant,
            actor: Actor::System { name },
            permission: None,
            feature: None,
            origin,
            idempotency: None,
        }
    }

    /// A person of this caller's company who asked before for what this caller now sets free.
    #[must_use]
    pub fn on_behalf_of(&self, user_id: Uuid) -> Self {
        Self {
            tenant: self.tenant,
            actor: Actor::Requester { user_id },
            permission: None,
            feature: None,
            origin: Origin {
                request_id: self.origin.request_id.clone(),
                trace: self.origin.trace.clone(),
                ..Origin::default()
            },
            idempotency: None,
        }
    }

    /// The same caller, on a route that the plan must include.
    #[must_use]
    pub fn requiring(mut self, feature: Option<Feature>) -> Self {
        self.feature = feature;
        self
    }

    /// The same caller, answering for this idempotency key.
    #[must_use]
    pub fn with_idempotency(mut self, idempotency: Option<Idempotency>) -> Self {
        self.idempotency = idempotency;
        self
    }

    #[must_use]
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    #[must_use]
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The user behind the call, if it is one.
    #[must_use]
    pub fn user_id(&self) -> Option<Uuid> {
        match self.actor {
            Actor::User { user_id, .. } | Actor::Requester { user_id } => Some(user_id),
            Actor::ApiKey { .. } | Actor::System { .. } => None,
        }
    }

    /// The session behind the call, if there is one.
    #[must_use]
    pub fn session_id(&self) -> Option<Uuid> {
        match self.actor {
            Actor::User { session_id, .. } => Some(session_id),
            Actor::ApiKey { .. } | Actor::System { .. } | Actor::Requester { .. } => None,
        }
    }

    #[must_use]
    pub fn permission(&self) -> Option<Permission> {
        self.permission
    }

    #[must_use]
    pub fn feature(&self) -> Option<Feature> {
        self.feature
    }

    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    #[must_use]
    pub fn idempotency(&self) -> Option<&Idempotency> {
        self.idempotency.as_ref()
    }
}
