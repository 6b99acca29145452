-- Run by an administrator before the numbered migrations, and again without effect: the roles that
-- own, use and look things up in this database. Needs CREATEROLE and the database, not superuser.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['m3_owner', 'm3_app', 'm3_lookup'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- a second migrator was faster
        END;
        -- since 16 who creates a role is a member of it, but may not SET ROLE to it until granted
        IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
            EXECUTE format('GRANT %I TO %I', wanted, current_user);
        END IF;
    END LOOP;
    -- m3_owner hands the look-up functions to m3_lookup.
    IF NOT pg_has_role('m3_owner', 'm3_lookup', 'MEMBER') THEN
        GRANT m3_lookup TO m3_owner;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'm3_app' AND rolcanlogin) THEN
        ALTER ROLE m3_app LOGIN;
        ALTER ROLE m3_app SET statement_timeout = '10s';
        ALTER ROLE m3_app SET lock_timeout = '5s';
        ALTER ROLE m3_app SET idle_in_transaction_session_timeout = '15s';
    END IF;
    -- A temporary table hides the table of its name, also from functions that run as the owner.
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

CREATE SCHEMA IF NOT EXISTS app;
ALTER SCHEMA app OWNER TO m3_owner;
GRANT USAGE, CREATE ON SCHEMA public TO m3_owner;
GRANT USAGE ON SCHEMA public, app TO m3_app, m3_lookup;
GRANT CREATE ON SCHEMA app TO m3_lookup;
