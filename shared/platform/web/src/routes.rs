//! The table of a function's endpoints: method, path, who may call, and the handler.

#[cfg(feature = "describe")]
use crate::openapi::Described;
use crate::serve::{self, Web};
#[cfg(feature = "describe")]
use aide::axum::{ApiRouter, routing as documented};
use aide::operation::OperationHandler;
use aide::{OperationInput, OperationOutput};
use axum::extract::FromRef;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Extension, Router};
use http::Method;
use kernel::{Feature, Permission};

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// Anybody with a session.
    SignedIn,
    /// Those who hold the permission.
    Permission(Permission),
    /// Those who hold the permission, when the company's plan includes the feature.
    Gated(Permission, Feature),
    /// Who runs the system, with the provisioning key.
    Operator,
}

impl From<Permission> for Access {
    fn from(permission: Permission) -> Self {
        Self::Permission(permission)
    }
}

impl From<(Permission, Feature)> for Access {
    fn from((permission, feature): (Permission, Feature)) -> Self {
        Self::Gated(permission, feature)
    }
}

impl Access {
    /// The permission that a caller needs.
    #[must_use]
    pub fn permission(self) -> Option<Permission> {
        match self {
            Self::Permission(permission) | Self::Gated(permission, _) => Some(permission),
            Self::Public | Self::SignedIn | Self::Operator => None,
        }
    }

    /// The feature that the plan must include.
    #[must_use]
    pub fn feature(self) -> Option<Feature> {
        match self {
            Self::Gated(_, feature) => Some(feature),
            _ => None,
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub function: &'static str,
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
    /// The handler's path in the source: `contacts_function::contact::create`.
    pub handler: &'static str,
}

#[cfg(feature = "describe")]
type Describe<S> = Box<dyn FnOnce(ApiRouter<S>) -> ApiRouter<S>>;

/// A function's endpoints.
pub struct Routes<S> {
    function: &'static str,
    router: Router<S>,
    endpoints: Vec<&'static Endpoint>,
    #[cfg(feature = "describe")]
    described: Vec<Describe<S>>,
}

macro_rules! method {
    ($(#[$doc:meta])* $name:ident, $filter:ident, $describe:ident) => {
        $(#[$doc])*
        #[must_use]
        pub fn $name<H, I, O, T>(self, path: &'static str, access: impl Into<Access>, handler: H) -> Self
        where
            H: Handler<T, S> + OperationHandler<I, O>,
            I: OperationInput + 'static,
            O: OperationOutput + 'static,
            T: 'static,
        {
            let endpoint = self.endpoint::<H>(Method::$filter, path, access.into());
            let table = self.add(endpoint, on(MethodFilter::$filter, handler.clone()));
            #[cfg(feature = "describe")]
            let table = table.describe(Box::new(move |api: ApiRouter<S>| {
                api.api_route(path, documented::$describe(handler, |operation| Described::of(endpoint).apply(operation)))
            }));
            table
        }
    };
}

impl<S: Clone + Send + Sync + 'static> Routes<S>
where
    Web: FromRef<S>,
{
    /// An empty table of the function with this name (its folder's and binary's).
    #[must_use]
    pub fn new(function: &'static str) -> Self {
        Self {
            function,
            router: Router::new(),
            endpoints: Vec::new(),
            #[cfg(feature = "describe")]
            described: Vec::new(),
        }
    }

    method!(get, GET, get_with);
    method!(post, POST, post_with);
    method!(put, PUT, put_with);
    method!(patch, PATCH, patch_with);
    method!(delete, DELETE, delete_with);

    /// Every endpoint declared.
    #[must_use]
    pub fn endpoints(&self) -> &[&'static Endpoint] {
        &self.endpoints
    }

    /// The service that answers them, with everything around a request.
    pub fn into_service(self, state: S) -> Router {
        serve::surround(self.function, self.router, state)
    }

    #[cfg(feature = "describe")]
    pub(crate) fn function(&self) -> &'static str {
        self.function
    }

    #[cfg(feature = "describe")]
    pub(crate) fn into_described(self) -> ApiRouter<S> {
        self.described
            .into_iter()
            .fold(ApiRouter::new(), |api, describe| describe(api))
    }

    /// Lives as long as the process: handlers carry a reference to their line of the table.
    fn endpoint<H>(&self, method: Method, path: &'static str, access: Access) -> &'static Endpoint {
        let handler = std::any::type_name::<H>();
        Box::leak(Box::new(Endpoint {
            function: self.function,
            method,
            path,
            access,
            handler,
        }))
    }

    fn add(mut self, endpoint: &'static Endpoint, handler: MethodRouter<S>) -> Self {
        self.router = self
            .router
            .route(endpoint.path, handler.layer(Extension(endpoint)));
        self.endpoints.push(endpoint);
        self
    }

    #[cfg(feature = "describe")]
    fn describe(mut self, describe: Describe<S>) -> Self {
        self.described.push(describe);
        self
    }
}
