-- Names are looked for in the temporary schema last. It comes first where it is not named, and there whoever
-- has the application's connection could put a table of their own in the way of functions that run as the
-- owner. (The application may not make temporary tables either: bootstrap.sql.)
DO $$
DECLARE
    pinned regprocedure;
BEGIN
    FOR pinned IN
        SELECT p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname = 'app'
        WHERE 'search_path=pg_catalog, public' = ANY (p.proconfig)
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, public, pg_temp', pinned);
    END LOOP;
END
$$;
