//! What a person may do: one registry, from which the `permissions` table is seeded (S1.5, S3.5).

macro_rules! permissions {
    ($($variant:ident = $code:literal),+ $(,)?) => {
        /// A permission that a route declares and a role grants.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Permission { $($variant),+ }

        impl Permission {
            /// Every permission there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As in the `permissions` table and in error details.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }
        }
    };
}

permissions! {
    ContactRead = "contact.read",
    ContactCreate = "contact.create",
    ContactUpdate = "contact.update",
    ContactDelete = "contact.delete",
    MessagingAccountsManage = "messaging.accounts.manage",
    MessagingRead = "messaging.read",
    MessagingSend = "messaging.send",
    SessionReadSelf = "session.read.self",
    SessionRevokeSelf = "session.revoke.self",
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}
